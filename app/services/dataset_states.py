"""What the state of a dataset means to the jobs that read it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from app.errors import ConflictError, NotFoundError
from app.models import Dataset, Job
from app.schemas.job_kinds import DATASET_MAKERS, REVISION
from app.schemas.job_payloads import RevisionPayload, TrainingPayload


def hold_dataset(session: Session, dataset_id: str) -> Dataset:
    """The dataset's row, whose import cannot end until the transaction has: nobody waits for it unseen.

    Nor is it deleted meanwhile. Raises NotFoundError.
    """
    held = session.get(Dataset, dataset_id, with_for_update={"read": True}, populate_existing=True)
    if held is None:
        raise no_dataset(dataset_id)
    return held


def no_dataset(dataset_id: str) -> NotFoundError:
    """Says that there is no such dataset, or no more."""
    return NotFoundError(
        f"There is no dataset {dataset_id!r}.", hint="`GET /products/<product>/datasets` lists them."
    )


def require_dataset(session: Session, dataset_id: str) -> Dataset:
    """The dataset's row; raises NotFoundError."""
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise no_dataset(dataset_id)
    return dataset


def require_ready(dataset: Dataset) -> Dataset:
    """Raises ConflictError unless the dataset can be used."""
    if dataset.status == "importing":
        raise ConflictError(
            f"Dataset {dataset.id} is still importing.", hint="Wait until its status is 'ready'."
        )
    return require_not_failed(dataset)


def require_not_failed(dataset: Dataset) -> Dataset:
    """Raises ConflictError when the dataset can never be used."""
    if dataset.status == "failed":
        raise import_failed(dataset)
    return dataset


def import_failed(dataset: Dataset) -> ConflictError:
    """Why nothing can be done with a dataset whose import failed or was cancelled."""
    error = dataset.error or {}
    return ConflictError(
        f"The import of dataset {dataset.id} failed: {error.get('detail', '')}",
        hint=error.get("hint") or "Mend the archive and import it again.",
    )


def evaluation_dataset_of(job: Job) -> str | None:
    """The dataset that a training is tested on in place of its test split."""
    return TrainingPayload.model_validate(job.payload).evaluation_dataset


def datasets_read_by(job: Job) -> list[str]:
    """The datasets that a job reads beside its own, in the order in which requests hold them."""
    tested = evaluation_dataset_of(job)
    sources = RevisionPayload.model_validate(job.payload).sources if job.kind == REVISION else ()
    return sorted({*sources, *([tested] if tested is not None else [])})


def tested_dataset(job: Job) -> str:
    """The dataset whose images a training's final test is measured on: all of another, or its own split."""
    return evaluation_dataset_of(job) or job.dataset


def is_dataset_there() -> ColumnElement[bool]:
    """Whether a job's dataset can be read, or is what the job makes."""
    unready = select(Dataset.id).where(Dataset.id == Job.dataset_id, Dataset.status != "ready").correlate(Job)
    return or_(Job.kind.in_(DATASET_MAKERS), ~unready.exists())


def select_waiting(dataset: Dataset) -> Select[Job]:
    """The jobs that cannot start before the dataset is ready."""
    return select(Job).where(
        Job.dataset_id == dataset.id,
        Job.kind.not_in(DATASET_MAKERS),
        Job.status.in_(("queued", "paused")),
    )
