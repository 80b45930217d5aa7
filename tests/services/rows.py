"""Jobs in the database without what leads to them, and what a child leaves behind when it has trained."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select, text

from app.artifacts import write_artifact
from app.context import AppContext
from app.evaluation.comparison_spec import ChampionAnswer, Comparison
from app.evaluation.files import FILES
from app.evaluation.metrics import evaluate_predictions
from app.evaluation.spec import EvaluationContent
from app.jobs import claims
from app.jobs.claims import Claim
from app.jobs.kinds.base import Answer
from app.jobs.kinds.training import Training
from app.models import Dataset, Job, JobEvent, Product
from app.models.base import db_now, new_id
from app.schemas.progress_lines import CheckpointLine, EpochLine, PlanLine, Scores, StepLine
from app.services.job_states import append_event
from app.training.result import Best, Parity, TrainingResult
from tests.test_artifacts import MANIFEST_WITHOUT_FILES

PAYLOADS = {kind: {"source": "/data", "is_upload": False} for kind in ("import", "model_import")}
HYPERPARAMETERS = {"monitor": "valid_loss", "batch_size": 8, "min_accuracy": 0.0}
EVALUATION = EvaluationContent(
    artifact_digest="a" * 64,
    dataset_digest="d" * 64,
    subset="test",
    **vars(
        evaluate_predictions(
            np.array([0, 0, 1, 1]),
            np.eye(3, dtype=np.float32)[[0, 1, 0, 1]],
            MANIFEST_WITHOUT_FILES.labels,
        )
    ),
    mistakes=(),
)
"""Of four images of two classes two were answered right."""
_numbers = itertools.count()
EQUAL = ChampionAnswer(
    found=Comparison(
        images=20, counted=20, left_out=0, not_asked=0, new_right=10, champion_right=10,
        only_new=0, only_champion=0, knows_champion_training=True,
    )
)  # fmt: skip
"""The champion answers all images as the new model does."""


def add_job(context: AppContext, **fields: Any) -> str:
    """A queued training, of a product of its own unless one is given; returns its id."""
    if "product_id" not in fields:
        fields["product_id"], fields["dataset_id"] = add_product(context)
    with context.db.write() as session:
        values = {"kind": "training", "status": "queued", "hyperparameters": HYPERPARAMETERS, **fields}
        values.setdefault("payload", PAYLOADS.get(values["kind"], {}))
        job = Job(id=new_id("job"), **values)
        session.add(job)
        append_event(session, job, "status", status="queued")
        return job.id


def add_product(context: AppContext) -> tuple[str, str]:
    """A product with a dataset; returns their ids."""
    with context.db.write() as session:
        product = Product(id=f"product-{next(_numbers)}", name="p")
        session.add(product)
        session.flush()
        dataset = Dataset(id=new_id("dst"), product_id=product.id, status="ready", source="p.zip")
        session.add(dataset)
        return product.id, dataset.id


def train(
    context: AppContext,
    folder: Path,
    *,
    leaves_artifact: bool = True,
    champion: ChampionAnswer = EQUAL,
    **fields: Any,
) -> Job:
    """A training after its end. Its model answered half of its test images rightly (EVALUATION).

    ``champion``: what the child answers that asks the champion, if there is one.
    """
    claim = claims.claim(context, add_job(context, **fields), "a")
    assert claim is not None
    result = leave_result(folder / claim.job_id)
    if not leaves_artifact:
        result = result.model_copy(update={"artifact": None})
    finish(context, claim, result, champion)
    return read_job(context, claim.job_id)


def finish(
    context: AppContext, claim: Claim, result: TrainingResult, champion: ChampionAnswer = EQUAL
) -> None:
    """Ends a training as its worker does; ``champion``: what the child that asks it answers."""
    kind = Training()
    if (preparation := kind.prepare_end(context, claim, result)) is not None:
        preparation(_Answers(champion))
    kind.finish(context, claim, result)


class _Answers:
    """In place of a further child: its answer."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __call__(self, _module: str, _spec: Any, result_type: type[Answer]) -> Answer:
        assert isinstance(self._answer, result_type)
        return self._answer


def read_job(context: AppContext, job_id: str) -> Job:
    with context.db.read() as session:
        return session.get_one(Job, job_id)


def change_job(context: AppContext, job_id: str, **values: Any) -> None:
    with context.db.write() as session:
        job = session.get_one(Job, job_id)
        for name, value in values.items():
            setattr(job, name, value)


def expire(context: AppContext, job_id: str) -> None:
    """The lease has run out by the database's clock."""
    with context.db.write() as session:
        session.get_one(Job, job_id).lease_until = session.scalars(select(db_now())).one() - 1


def events(context: AppContext, job_id: str, event_type: str | None = None) -> list[dict[str, Any]]:
    query = select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.number)
    with context.db.read() as session:
        rows = session.scalars(query).all()
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    return [row.data for row in rows if event_type in (None, row.type)]


def dump(context: AppContext) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that a worker writes to."""
    tables = (
        *("jobs", "job_events", "job_steps", "job_epochs"),
        *("models", "aliases", "alias_moves", "evaluations", "datasets"),
    )
    with context.db.read() as session:
        return {
            table: sorted(map(tuple, session.execute(text(f"SELECT * FROM {table}"))), key=str)
            for table in tables
        }


def leave_result(folder: Path, weights: str = "w" * 64) -> TrainingResult:
    """The files and the result of a finished training child, in ``folder``."""
    sources = folder / "sources"
    verification = folder / "verification"
    for made in (sources, verification):
        made.mkdir(parents=True)
    files = [sources / "model.keras", sources / "model.tflite"]
    for path in files:
        path.write_bytes(b"model")
    write_artifact(folder / "artifact", replace(MANIFEST_WITHOUT_FILES, weights_sha256=weights), files)
    for name in FILES:
        (verification / name).write_bytes(b"x")
    return TrainingResult(
        artifact=folder / "artifact",
        verification=verification,
        weights_sha256=weights,
        stop_reason="completed",
        best=Best(epoch=2, metric="valid_loss", value=0.25),
        epochs_run=3,
        is_exact=True,
        parity=Parity(items=3, labels_equal=3, max_probability_difference=0.0),
        evaluation=EVALUATION,
    )


def step(number: int, epoch: int = 1) -> StepLine:
    return StepLine(
        time=float(number), step=number, epoch=epoch, loss=1 / number,
        accuracy=0.5, learning_rate=0.01, images_per_second=10.0,
    )  # fmt: skip


def epoch(number: int, at_step: int, *, best: bool = True) -> EpochLine:
    return EpochLine(
        epoch=number, step=at_step, train=Scores(loss=0.5, accuracy=0.5),
        valid=Scores(loss=1 / number, accuracy=0.5), best=best, seconds=1.0, learning_rate=0.01,
    )  # fmt: skip


def plan(at_step: int) -> PlanLine:
    return PlanLine(epochs=8, steps_per_epoch=10, steps=80, step=at_step)


def checkpoint(at_step: int, folder: str = "/nowhere") -> CheckpointLine:
    return CheckpointLine(step=at_step, epoch=1, folder=folder, digest="d")
