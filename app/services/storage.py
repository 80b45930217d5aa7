"""Moving to a shared storage: every file of this home folder that a row of the database refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy import select

from app.context import AppContext
from app.models import Dataset, Evaluation, Job, TrainedModel
from app.schemas.job_kinds import JOB_KINDS, get_job_kind
from app.services.job_lifecycle import find_upload, needs_upload
from app.storage.job_logs import upload_logs

Step = tuple[str, Callable[[], None]]


def list_pushes(context: AppContext) -> list[Step]:
    """What is to be uploaded, each with its name. A step may be repeated; it raises FileNotFoundError or
    DatasetError when what a row refers to is not in this home folder, UnavailableError in an outage.
    """
    return list(_list_pushes(context))


def _list_pushes(context: AppContext) -> Iterator[Step]:
    storage = context.storage
    with context.db.read() as session:
        datasets = session.scalars(select(Dataset.id).where(Dataset.status == "ready")).all()
        jobs = session.scalars(select(Job).where(Job.kind.in_(JOB_KINDS))).all()
        folders = [*session.scalars(select(TrainedModel.folder)), *session.scalars(select(Evaluation.folder))]
        for exports in session.scalars(select(TrainedModel.exports)):
            folders += [export["folder"] for export in (exports or {}).values()]
    for dataset_id in datasets:
        yield f"dataset {dataset_id}", partial(storage.remote.upload_dataset, dataset_id)
    for folder in folders:
        yield folder, partial(storage.remote.upload, storage.absolute(folder))
    for job in jobs:
        kind = get_job_kind(job.kind)
        if kind.makes_split and job.is_planned:
            yield f"split of {job.id}", partial(storage.remote.upload, storage.job_split(job.id))
        if kind.makes_export and job.status == "succeeded":
            yield f"export {job.id}", partial(storage.remote.upload, storage.job_export(job.id))
        if (upload := find_upload(storage, job)) is not None and needs_upload(job):
            yield f"upload of {job.id}", partial(storage.remote.upload, upload)
        for logs in sorted(storage.job_logs(job.id).glob("*")):
            yield f"logs of {job.id}", partial(upload_logs, storage, job.id, logs, {})
        if job.status not in ("succeeded", "cancelled"):
            for checkpoint in sorted(storage.job_checkpoints(job.id).glob("*/checkpoint-*")):
                yield f"checkpoint of {job.id}", partial(storage.remote.upload, checkpoint)
    for weights in sorted(path for path in storage.weights.glob("[!.]*") if path.is_file()):
        yield weights.name, partial(storage.remote.upload, weights)
