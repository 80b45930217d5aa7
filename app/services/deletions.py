"""Deleting a dataset or a product. What depends on it is named, and goes with it if the client forces that.

Rows are locked in this order, which is that of every other verb: sweeps, jobs, datasets, product, models,
keys, webhooks. So what is accepted meanwhile either comes first and is seen here, or finds that its dataset
or product is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from app.changes import note_change
from app.context import AppContext
from app.errors import ConflictError, FieldError
from app.models import Alias, AliasMove, Dataset, Evaluation, Job, PredictionDay, Sweep, TrainedModel
from app.models.product import TOPIC
from app.schemas.job_kinds import get_job_kind
from app.services import api_keys, webhooks
from app.services.dataset_states import datasets_read_by, no_dataset, require_dataset
from app.services.evaluation_analyses import analysis_folder
from app.services.job_lifecycle import delete_rows, discard_files
from app.services.job_states import TERMINAL
from app.services.products import lock_product, require_product
from app.services.trained_models import models_read_by
from app.words import count

SHOWN = 50
"""Of what depends on something, at most so many are named one by one."""


@dataclass(frozen=True)
class _Found:
    """What would go. ``evaluations``: on these datasets, of models that stay. ``readers``: jobs that stay,
    have not ended and read one of the models or of the datasets.
    ``aliases``: their names by model.
    """

    datasets: Sequence[Dataset]
    jobs: Sequence[Job]
    models: Sequence[TrainedModel]
    evaluations: Sequence[Evaluation]
    readers: Sequence[Job]
    aliases: Mapping[str, list[str]]

    @property
    def active(self) -> list[Job]:
        return [job for job in self.jobs if job.status not in TERMINAL]


@dataclass(frozen=True)
class _Reason:
    """What speaks against a deletion: ``what`` counts it, ``those`` names each. ``remedy``: None where
    ``force`` is the remedy.
    """

    what: str
    those: list[FieldError]
    remedy: str | None = None


def delete_dataset(context: AppContext, dataset_id: str, *, force: bool = False) -> list[str]:
    """Deletes a dataset with its import; with ``force`` also all that was made from it. Returns the models
    that went.

    Raises ConflictError, which names what depends on it: also with ``force`` while a job on it has not ended
    or an alias points at one of its models. A dataset whose import failed was never read: it goes at once.
    Its images go later, see ``app/jobs/deleted_datasets.py``.
    """
    with context.db.write() as session:
        require_dataset(session, dataset_id)
        found = _gather(session, Job.dataset_id == dataset_id, Dataset.id == dataset_id)
        if not found.datasets:  # Another request deleted it while this one waited for its row.
            raise no_dataset(dataset_id)
        [dataset] = found.datasets
        _refuse(f"Dataset {dataset_id} cannot be deleted", _reasons_of_dataset(dataset, found), force=force)
        _delete(session, found)
    context.changes.look_after_a_change()
    _discard(context, found)
    return [model.id for model in found.models]


def delete_product(context: AppContext, product_id: str, *, force: bool = False) -> list[str]:
    """Deletes a product that has no datasets and no jobs; with ``force`` with all that it has, its champion
    too. Returns the models that went.

    Raises ConflictError, which names what it has; also with ``force`` while one of its jobs has not ended.
    """
    with context.db.write() as session:
        require_product(session, product_id)
        sweeps = session.scalars(
            select(Sweep.id).where(Sweep.product_id == product_id).order_by(Sweep.id).with_for_update()
        ).all()
        found = _gather(
            session, Job.product_id == product_id, Dataset.product_id == product_id, product=product_id
        )
        _refuse(f"Product {product_id!r} cannot be deleted", _reasons_of_product(found, sweeps), force=force)
        for table in (Alias, AliasMove, PredictionDay):
            session.execute(delete(table).where(table.product_id == product_id))
        _delete(session, found)
        session.execute(delete(Sweep).where(Sweep.product_id == product_id))
        api_keys.unbind_product(session, product_id)
        webhooks.unbind_product(session, product_id)
        session.delete(require_product(session, product_id))
        note_change(session, TOPIC)
    context.changes.look_after_a_change()
    _discard(context, found)
    return [model.id for model in found.models]


def _gather(
    session: Session,
    of_jobs: ColumnElement[bool],
    of_datasets: ColumnElement[bool],
    product: str | None = None,
) -> _Found:
    """Locks all that would go, then reads it: a job may have been accepted before its dataset was locked."""
    session.scalars(select(Job.id).where(of_jobs).order_by(Job.id).with_for_update()).all()
    session.scalars(select(Dataset.id).where(of_datasets).order_by(Dataset.id).with_for_update()).all()
    if product is not None:
        lock_product(session, product)
    jobs = select(Job.id).where(of_jobs)
    models = session.scalars(
        select(TrainedModel).where(TrainedModel.job_id.in_(jobs)).order_by(TrainedModel.id).with_for_update()
    ).all()
    ids = {model.id for model in models}
    names: dict[str, list[str]] = {}
    for alias in session.scalars(select(Alias).where(Alias.model_id.in_(ids)).order_by(Alias.name)):
        names.setdefault(alias.model_id, []).append(alias.name)
    others = select(Job).where(Job.status.not_in(TERMINAL), Job.id.not_in(jobs)).order_by(Job.id)
    datasets = select(Dataset.id).where(of_datasets)
    read = ids | set(session.scalars(datasets))
    fresh = {"populate_existing": True}
    return _Found(
        datasets=session.scalars(
            select(Dataset).where(of_datasets).order_by(Dataset.id), execution_options=fresh
        ).all(),
        jobs=session.scalars(select(Job).where(of_jobs).order_by(Job.id), execution_options=fresh).all(),
        models=models,
        evaluations=session.scalars(
            select(Evaluation).where(Evaluation.dataset_id.in_(datasets), Evaluation.job_id.not_in(jobs))
        ).all(),
        readers=[
            job
            for job in session.scalars(others)
            if not read.isdisjoint([*models_read_by(job), *datasets_read_by(job)])
        ],
        aliases=names,
    )


def _reasons_of_dataset(dataset: Dataset, found: _Found) -> list[_Reason]:
    """Worst first."""
    if dataset.status == "importing":
        [importing] = [job for job in found.active if get_job_kind(job.kind).makes_dataset]
        remedy = f"Cancel job {importing.id} first: `POST /jobs/{importing.id}/cancel`."
        return [_Reason("it is still importing", [_name_job(importing)], remedy)]
    active = [*found.active, *found.readers]
    named = [model for model in found.models if model.id in found.aliases]
    others = [model for model in found.models if model.id not in found.aliases]
    reasons = [
        _not_ended(active),
        _Reason(
            count(len(named), "model that was trained on it has", "models that were trained on it have")
            + " an alias",
            [_name_model(model, found.aliases[model.id]) for model in named],
            f"Move the alias to another model first: `PUT /products/{dataset.product_id}/aliases/<name>`.",
        ),
        _Reason(
            count(len(others), "model was", "models were") + " trained on it",
            [_name_model(model) for model in others],
        ),
        _Reason(
            count(len(found.evaluations), "other model was", "other models were") + " evaluated on it",
            [
                FieldError(f"/jobs/{evaluation.job_id}/evaluation", f"of model {evaluation.model_id}")
                for evaluation in found.evaluations
            ],
        ),
        _Reason(
            count(len(left := _other_jobs(found)), "other job on it has", "other jobs on it have") + " ended",
            [_name_job(job) for job in left],
        ),
    ]
    if dataset.status == "failed":
        reasons = [reason for reason in reasons if reason.remedy is not None]
    return [reason for reason in reasons if reason.those]


def _not_ended(jobs: Sequence[Job]) -> _Reason:
    return _Reason(
        count(len(jobs), "job has", "jobs have") + " not ended",
        [_name_job(job) for job in jobs],
        f"Cancel them first, or wait for their end: {', '.join(_cancels(jobs))}.",
    )


def _cancels(jobs: Sequence[Job]) -> list[str]:
    """The requests that end these jobs; the candidates of a sweep end with it."""
    sweeps = sorted({job.sweep_id for job in jobs if job.sweep_id is not None})
    alone = ["`POST /jobs/<id>/cancel`"] if any(job.sweep_id is None for job in jobs) or not jobs else []
    return alone + [f"`POST /sweeps/{sweep}/cancel`" for sweep in sweeps]


def _other_jobs(found: _Found) -> list[Job]:
    """The ended jobs of which a record would be lost that no model and no evaluation stands for."""
    with_model = {model.job_id for model in found.models}
    return [
        job
        for job in found.jobs
        if job.status in TERMINAL
        and job.id not in with_model
        and not get_job_kind(job.kind).makes_dataset
        and not (get_job_kind(job.kind).makes_evaluation and job.status == "succeeded")
    ]


def _reasons_of_product(found: _Found, sweeps: Sequence[str]) -> list[_Reason]:
    """Worst first."""
    active = found.active
    ended = [job for job in found.jobs if job.status in TERMINAL]
    named = [model for model in found.models if model.id in found.aliases]
    reasons = [
        _not_ended(active),
        _Reason(
            count(len(named), "model with an alias", "models with an alias"),
            [_name_model(model, found.aliases[model.id]) for model in named],
        ),
        _Reason(
            count(len(found.models) - len(named), "model without", "models without"),
            [_name_model(model) for model in found.models if model.id not in found.aliases],
        ),
        _Reason(
            count(len(found.datasets), "dataset", "datasets"),
            [FieldError(f"/datasets/{dataset.id}", dataset.status) for dataset in found.datasets],
        ),
        _Reason(count(len(ended), "ended job", "ended jobs"), [_name_job(job) for job in ended]),
        _Reason(
            count(len(sweeps), "sweep", "sweeps"),
            [FieldError(f"/sweeps/{sweep}", "a sweep") for sweep in sweeps],
        ),
    ]
    return [reason for reason in reasons if reason.those]


def _refuse(refusal: str, reasons: Sequence[_Reason], *, force: bool) -> None:
    """Raises ConflictError for the reasons that there are, or for those that ``force`` does not overcome."""
    if force:
        reasons = [reason for reason in reasons if reason.remedy is not None]
    if not reasons:
        return
    remedies = [reason.remedy for reason in reasons if reason.remedy is not None]
    raise ConflictError(
        f"{refusal}: {'; '.join(reason.what for reason in reasons)}.",
        hint=" ".join(remedies) or "To delete all of this with it, add `?force=true` (`--force`).",
        errors=tuple(one for reason in reasons for one in reason.those)[:SHOWN],
    )


def _delete(session: Session, found: _Found) -> None:
    evaluated = Evaluation.dataset_id.in_([dataset.id for dataset in found.datasets])
    session.execute(delete(Evaluation).where(evaluated))
    models = {model.job_id: model for model in found.models}
    for job in found.jobs:
        delete_rows(session, job, models.get(job.id))
    session.flush()
    for dataset in found.datasets:
        session.delete(dataset)
    session.flush()


def _discard(context: AppContext, found: _Found) -> None:
    models = {model.job_id: model for model in found.models}
    for job in found.jobs:
        discard_files(context, job, models.get(job.id))
    for evaluation in found.evaluations:
        context.storage.discard(context.storage.absolute(evaluation.folder))
        context.storage.remove(analysis_folder(context, evaluation))
    for dataset in found.datasets:
        context.storage.discard_dataset(dataset.id)


def _name_job(job: Job) -> FieldError:
    return FieldError(f"/jobs/{job.id}", f"{get_job_kind(job.kind).noun}, {job.status}")


def _name_model(model: TrainedModel, aliases: Sequence[str] = ()) -> FieldError:
    names = f", {' and '.join(aliases)} of product {model.product_id!r}" if aliases else ""
    return FieldError(f"/models/{model.id}", f"version {model.version}{names}")
