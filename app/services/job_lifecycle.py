"""What a client asks of a job that exists: stop, pause, resume, cancel, retry, delete."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.changes import note_change
from app.context import AppContext
from app.errors import ChoiceNeededError, ConflictError, FieldError, InvalidRequestError, NotFoundError
from app.models import Alias, Dataset, Evaluation, Job, JobEpoch, JobEvent, JobStep, Sweep, TrainedModel
from app.models.alias import TOPIC
from app.models.base import db_now
from app.schemas import job as schemas
from app.schemas.import_choices import ImportChoices
from app.schemas.job_kinds import JOB_KINDS, UPLOAD_READERS, get_job_kind
from app.schemas.job_payloads import UploadPayload
from app.services.dataset_states import datasets_read_by, hold_dataset, require_not_failed
from app.services.job_states import TERMINAL, append_event, move_job
from app.services.jobs import hold_model, lock_job, to_schema
from app.services.key_quotas import charge_job
from app.services.trained_models import jobs_by_model, models_read_by
from app.services.workers import require_workers_for
from app.storage.home import Storage


def cancel_job(context: AppContext, job_id: str) -> tuple[schemas.Job, bool]:
    """Ends a job and keeps nothing of it. Returns the job, and whether it had been cancelled before."""
    with context.db.write() as session:
        job = lock_job(session, job_id)
        if job.status == "cancelled":
            return to_schema(session, job), True
        if job.status in TERMINAL:
            raise ConflictError(f"Job {job_id} is {job.status} already; there is nothing to cancel.")
        if job.status == "running":
            if not job.cancel_requested:
                job.cancel_requested = True
                append_event(session, job, "cancel_requested")
        else:
            mark_cancelled(session, job)
        session.flush()
        answer = to_schema(session, job)
    if answer.status == "cancelled":
        clean_up(context, job_id)
    return answer, False


def stop_job(context: AppContext, job_id: str) -> tuple[schemas.Job, bool]:
    """Ends a training early and keeps its best epoch. Returns the job, and whether that was asked before."""
    with context.db.write() as session:
        job = lock_job(session, job_id)
        _require_own_way(job)
        if not (kind := get_job_kind(job.kind)).can_stop:
            raise ConflictError(
                f"Job {job_id} is {kind.noun}; only {_those('can_stop')} can be stopped early.",
                hint="`POST /jobs/<id>/cancel` ends it and keeps nothing.",
            )
        if job.status in TERMINAL:
            raise ConflictError(f"Job {job_id} is {job.status} already; there is nothing to stop.")
        if job.attempt == 0:
            raise ConflictError(
                f"Job {job_id} is {job.status} and has trained nothing that could be kept.",
                hint="`POST /jobs/<id>/cancel` ends it and keeps nothing.",
            )
        if job.stop_requested:
            return to_schema(session, job), True
        job.stop_requested = True
        append_event(session, job, "stop_requested")
        if job.status == "paused":
            # It takes a worker to evaluate and package the best epoch.
            require_workers_for(session, job)
            charge_job(session, job)
            move_job(session, job, "queued", reason="stopped")
        session.flush()
        answer = to_schema(session, job)
    context.queue.enqueue(job_id, answer.kind, answer.device)
    return answer, False


def pause_job(context: AppContext, job_id: str) -> tuple[schemas.Job, bool]:
    """Checkpoints a training and lets it rest. Returns the job, and whether that was asked before."""
    with context.db.write() as session:
        job = lock_job(session, job_id)
        _require_own_way(job)
        if job.status == "paused" or job.pause_requested:
            return to_schema(session, job), True
        if not (kind := get_job_kind(job.kind)).can_pause:
            raise ConflictError(f"Job {job_id} is {kind.noun}; only {_those('can_pause')} can be paused.")
        if job.status in TERMINAL:
            raise ConflictError(f"Job {job_id} is {job.status} already; there is nothing to pause.")
        if job.status == "running":
            job.pause_requested = True
            append_event(session, job, "pause_requested")
        else:
            move_job(session, job, "paused")
        session.flush()
        return to_schema(session, job), False


def resume_job(context: AppContext, job_id: str) -> tuple[schemas.Job, bool]:
    """Queues a paused training again. Returns the job, and whether it was under way already."""
    with context.db.write() as session:
        job = lock_job(session, job_id)
        _require_own_way(job)
        if job.status in ("queued", "running") and not job.pause_requested:
            return to_schema(session, job), True
        if job.status == "running":
            raise ConflictError(
                f"Job {job_id} is running and about to pause.", hint="Resume it once it is paused."
            )
        if job.status != "paused":
            raise ConflictError(
                f"Job {job_id} is {job.status} and cannot be resumed.",
                hint="A failed job can be retried: `POST /jobs/<id>/retry`.",
            )
        get_job_kind(job.kind)  # Where it is not known, no queue can be named.
        require_workers_for(session, job)
        charge_job(session, job)
        job.dispatched_at = db_now()
        move_job(session, job, "queued", reason="resumed")
        session.flush()
        answer = to_schema(session, job)
    context.queue.enqueue(job_id, answer.kind, answer.device)
    return answer, False


def retry_job(context: AppContext, job_id: str, request: schemas.JobRetry) -> schemas.Job:
    """Gives a failed job a new attempt, from its last checkpoint or from step 0."""
    with context.db.write() as session:
        job = lock_job(session, job_id)
        _require_own_way(job)
        if job.status != "failed":
            raise ConflictError(f"Job {job_id} is {job.status}; only a failed job can be retried.")
        choices = ImportChoices.model_validate(request.model_dump()).model_dump(exclude_none=True)
        kind = get_job_kind(job.kind)
        if choices and not (kind.makes_dataset and kind.reads_upload):
            raise InvalidRequestError(
                f"Job {job_id} is {kind.noun}; only an import takes {', '.join(choices)}.",
                errors=tuple(FieldError(f"/{name}", "only for an import") for name in choices),
            )
        if kind.reads_upload:
            _require_upload(context, job)
        if kind.makes_dataset:
            dataset = session.get_one(Dataset, job.dataset)
            dataset.status, dataset.error, dataset.ready_at = "importing", None, None
        elif job.dataset_id is not None:
            require_not_failed(hold_dataset(session, job.dataset_id))
        for dataset_id in datasets_read_by(job):
            _hold_read_dataset(session, dataset_id)
        for model_id in models_read_by(job):
            hold_model(session, model_id)
        job.payload = {**job.payload, **choices}
        require_workers_for(session, job)
        charge_job(session, job)
        job.error = job.finished_at = None
        job.attempts_without_checkpoint = 0
        job.cancel_requested = job.stop_requested = job.pause_requested = False
        job.dispatched_at = db_now()
        if request.start == "beginning":
            job.payload = {**job.payload, "forget_checkpoints_until": job.last_event}
            job.progress, job.best = {}, None
            for table in (JobStep, JobEpoch):
                session.execute(delete(table).where(table.job_id == job_id))
        move_job(session, job, "queued", reason="retried", start=request.start)
        session.flush()
        answer = to_schema(session, job)
    context.queue.enqueue(job_id, answer.kind, answer.device)
    return answer


def _require_own_way(job: Job) -> None:
    """Raises ConflictError for a candidate of a sweep: all of them train as far as the sweep says."""
    if job.sweep_id is not None:
        raise ConflictError(
            f"Job {job.id} is a candidate of sweep {job.sweep_id}, which alone decides when it trains.",
            hint=f"`POST /jobs/{job.id}/cancel` takes it out of the sweep, "
            f"`POST /sweeps/{job.sweep_id}/cancel` ends them all; `POST /jobs` trains the network alone.",
        )


def _require_sweep_ended(session: Session, job: Job) -> None:
    sweep = session.get(Sweep, job.sweep_id) if job.sweep_id is not None else None
    if sweep is not None and sweep.finished_at is None:
        raise ConflictError(
            f"Job {job.id} is a candidate of sweep {sweep.id}, which has not ended.",
            hint=f"Wait for its end, or cancel it: `POST /sweeps/{sweep.id}/cancel`.",
        )


def _hold_read_dataset(session: Session, dataset_id: str) -> None:
    try:
        hold_dataset(session, dataset_id)
    except NotFoundError:
        raise ConflictError(
            f"Dataset {dataset_id}, which the job reads, was deleted.",
            hint="Ask anew, with another dataset in its place.",
        ) from None


def _those(ability: str) -> str:
    """The plurals of the kinds of job that have an ability."""
    return " and ".join(kind.plural for kind in JOB_KINDS.values() if getattr(kind, ability))


def _require_upload(context: AppContext, job: Job) -> None:
    """Raises ConflictError when the upload that a retry would read is not kept."""
    upload = find_upload(context.storage, job)
    if upload is None:
        return
    if not needs_upload(job) or not (upload.exists() or context.storage.remote.may_get(upload)):
        raise ConflictError(
            f"Job {job.id} is {get_job_kind(job.kind).noun}, and its upload is not kept.",
            hint="Mend the archive if its report says so, and import it again.",
        )


def find_upload(storage: Storage, job: Job) -> Path | None:
    """Where the upload of a job lies, here or in the storage that hosts share; None if it reads none."""
    if job.kind not in UPLOAD_READERS:
        return None
    payload = UploadPayload.model_validate(job.payload)
    return storage.find_upload(payload.source) if payload.is_upload else None


def needs_upload(job: Job) -> bool:
    """Whether a job will read its upload (again): not once it succeeded, was cancelled, found it bad.

    One that could be read in several ways waits for the choice.
    """
    error = job.error or {}
    can_be_retried = bool(error.get("retryable")) or error.get("code") == ChoiceNeededError.code
    return job.status not in TERMINAL or (job.status == "failed" and can_be_retried)


def delete_job(context: AppContext, job_id: str) -> None:
    """Deletes an ended job with its model and files; raises ConflictError while an alias needs them."""
    with context.db.write() as session:
        job = lock_job(session, job_id)
        if job.status not in TERMINAL:
            raise ConflictError(f"Job {job_id} is {job.status}.", hint="Cancel it first.")
        _require_sweep_ended(session, job)
        of_job = select(TrainedModel).where(TrainedModel.job_id == job_id)
        model = session.scalar(of_job.with_for_update())
        if model is not None:
            _require_unused(session, model)
        delete_rows(session, job, model)
    context.changes.look_after_a_change()
    discard_files(context, job, model)


def delete_rows(session: Session, job: Job, model: TrainedModel | None) -> None:
    """Deletes an ended job with its model and evaluations. The caller knows that nobody needs the model."""
    session.execute(delete(Evaluation).where(Evaluation.job_id == job.id))
    for table in (JobStep, JobEpoch, JobEvent):
        session.execute(delete(table).where(table.job_id == job.id))
    if model is not None:
        note_change(session, TOPIC)
        session.delete(model)
        session.flush()
    session.delete(job)


def discard_files(context: AppContext, job: Job, model: TrainedModel | None) -> None:
    """Deletes the files of a job whose rows are deleted."""
    context.storage.discard(context.storage.job(job.id))
    if (upload := find_upload(context.storage, job)) is not None:
        context.storage.discard(upload)
    if model is not None:
        context.storage.discard(context.storage.absolute(model.folder).parent)


def clean_up(context: AppContext, job_id: str) -> None:
    """Deletes the files that an ended job needs no more; a failed one keeps its checkpoints for a retry."""
    with context.db.read() as session:
        job = session.get(Job, job_id)
        if job is None or job.status not in TERMINAL:
            return
    storage = context.storage
    for fence in range(1, job.fence + 1):  # and no further: a retry may have begun meanwhile
        storage.remove(storage.attempt(job_id, fence))
    if job.status != "failed":
        storage.discard(storage.job_checkpoints(job_id))
    if (upload := find_upload(storage, job)) is not None and not needs_upload(job):
        storage.discard(upload)


def mark_cancelled(session: Session, job: Job) -> None:
    """The end of a cancelled job."""
    move_job(session, job, "cancelled")


def _require_unused(session: Session, model: TrainedModel) -> None:
    alias = session.scalar(select(Alias.name).where(Alias.model_id == model.id).limit(1))
    if alias is not None:
        raise ConflictError(
            f"Model {model.id} of this job is the {alias} of product {model.product_id!r}.",
            hint="Move the alias to another model first.",
        )
    reader = jobs_by_model(session, model.product_id).get(model.id)
    if reader is not None:
        raise ConflictError(
            f"Job {reader} evaluates this job's model, exports it or starts from it.",
            hint="Cancel it or wait for its end.",
        )
