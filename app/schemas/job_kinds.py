"""The kinds of job: what clients, queues and metrics must know of each.

What a worker does for a kind is in ``app/jobs/kinds/``; a test holds the two lists to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.errors import ConflictError

JobStage = Literal[
    "preparing", "examining", "training", "evaluating", "exporting", "verifying", "comparing", "predicting"
]
"""What a child may say that it does."""


@dataclass(frozen=True)
class JobKind:
    """One kind. ``noun`` is how messages speak of one such job, article included."""

    name: str
    noun: str
    plural: str
    uses_device: bool = False
    """Whether it computes on a device of its own: it then waits in a queue for that device."""
    can_pause: bool = False
    """Whether it saves checkpoints, so that it can be paused and resumed."""
    can_stop: bool = False
    """Whether ending it early leaves a result that is worth keeping."""
    makes_dataset: bool = False
    """Whether its dataset is what it makes: the dataset fails with the job."""
    makes_split: bool = False
    """Whether it divides its dataset, once it is planned."""
    makes_model: bool = False
    """Whether a model comes out, which a gate judges."""
    takes_model: bool = False
    """Whether a model comes out that another Loupe trained, and that nothing here judges."""
    makes_evaluation: bool = False
    """Whether an evaluation of a model that was trained before comes out."""
    makes_export: bool = False
    """Whether it leaves a file to download."""
    reads_upload: bool = False
    """Whether it reads a file that a client may have uploaded: a retry needs that file."""


REVISION, EXAMINATION = "revision", "examination"
_ALL = (
    JobKind(
        "training",
        "a training",
        "trainings",
        uses_device=True,
        can_pause=True,
        can_stop=True,
        makes_split=True,
        makes_model=True,
    ),
    JobKind("import", "an import", "imports", makes_dataset=True, reads_upload=True),
    JobKind(REVISION, "a new version of a dataset", "new versions of datasets", makes_dataset=True),
    JobKind(EXAMINATION, "an examination of a dataset", "examinations of datasets"),
    JobKind("evaluation", "an evaluation", "evaluations", makes_evaluation=True),
    JobKind("export", "an export", "exports", makes_export=True),
    JobKind("model_export", "an export of a model", "exports of models"),
    JobKind("model_import", "an import of a model", "imports of models", takes_model=True, reads_upload=True),
    JobKind("prediction", "a prediction", "predictions", can_pause=True, reads_upload=True),
)
JOB_KINDS: dict[str, JobKind] = {kind.name: kind for kind in _ALL}
KNOWN_TO_FIRST_RELEASE = frozenset({"training", "import", "evaluation", "export"})
"""What a worker knows that registers no kinds. Later kinds are never added here."""

DEVICE_KINDS = frozenset(kind.name for kind in _ALL if kind.uses_device)
DATASET_MAKERS = frozenset(kind.name for kind in _ALL if kind.makes_dataset)
MODEL_MAKERS = frozenset(kind.name for kind in _ALL if kind.makes_model)
UPLOAD_READERS = frozenset(kind.name for kind in _ALL if kind.reads_upload)


def get_job_kind(name: str) -> JobKind:
    """Raises ConflictError for the kind of a row that a newer release wrote."""
    if name not in JOB_KINDS:
        raise ConflictError(
            f"This release does not know jobs of the kind {name!r}.",
            hint="A newer release made the job: ask an API of that release.",
        )
    return JOB_KINDS[name]
