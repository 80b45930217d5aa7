"""Jobs from the client's side: plan, create, read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.datasets.split import SplitMap
from app.errors import ConflictError, NotFoundError
from app.host import failpoints
from app.host.files import make_folder, write_json
from app.models import Dataset, Job, TrainedModel
from app.models.base import new_id
from app.schemas import job as schemas
from app.schemas.common import Page, problem_from_error
from app.schemas.job_kinds import DEVICE_KINDS, MODEL_MAKERS
from app.schemas.job_payloads import TrainingPayload
from app.services.dataset_states import evaluation_dataset_of, hold_dataset, require_not_failed
from app.services.forecasts import forecast_training
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_plan import Plan, PlanInputs, decide
from app.services.job_plan_inputs import gather
from app.services.job_states import append_event, queue_job
from app.services.pages import fetch_page
from app.services.promotion import read_gate, rules_of
from app.services.workers import place_of, waits_for
from app.storage.home import Storage


def create_job(
    context: AppContext, request: schemas.JobCreate, idempotent: IdempotentRequest | None = None
) -> Answer:
    """Stores a training as a queued job and announces it. The job exists once this returns."""
    with context.db.read() as session:
        if (before := recall(session, idempotent)) is not None:
            return before
    inputs = gather(context, request)
    # Decided before the transaction that writes: dividing a large dataset takes a while.
    plan = decide(request, inputs)
    job_id = new_id("job")
    folder = context.storage.job(job_id)
    with ExitStack() as undo:
        undo.callback(context.storage.discard, folder)
        make_folder(folder)
        if plan.splits is not None:
            store_split(context.storage, job_id, plan.splits)
        with context.db.write() as session:
            if (before := recall(session, idempotent)) is not None:
                return before
            dataset = hold_inputs(session, inputs)
            job = new_training(job_id, request, plan)
            queue_job(session, job)
            record_warnings(session, job, plan.job.warnings)
            answer = Answer(to_schema(session, job).model_dump(mode="json"), f"/jobs/{job.id}")
            remember(session, idempotent, 201, answer)
            can_start = dataset.status == "ready"
        undo.pop_all()
    failpoints.pass_by("submit.committed")
    if can_start:
        context.queue.enqueue(job.id, job.kind, job.device)
    return answer


def hold_inputs(session: Session, inputs: PlanInputs) -> Dataset:
    """Keeps what a planned training reads until the transaction ends; returns its dataset.

    Raises NotFoundError, ConflictError where something is gone or has failed meanwhile.
    """
    tested = inputs.evaluation_dataset
    # In one order, which is that of a deletion: two requests cannot wait for each other.
    ids = sorted({inputs.dataset, *([tested.id] if tested is not None else [])})
    held = {name: hold_dataset(session, name) for name in ids}
    dataset = require_not_failed(held[inputs.dataset])
    if inputs.initial_model is not None:
        hold_model(session, inputs.initial_model.id)
    return dataset


def new_training(job_id: str, request: schemas.JobCreate, plan: Plan) -> Job:
    """The row of a planned training; it is not stored yet, and has no status."""
    return Job(
        id=job_id,
        kind="training",
        product_id=plan.job.product,
        dataset_id=plan.job.dataset.id,
        network=plan.job.network,
        hyperparameters=plan.job.hyperparameters,
        split=plan.job.split,
        device=plan.job.device,
        gpus=plan.job.gpus,
        gate_rules=plan.job.gate_rules.model_dump(mode="json"),
        payload=TrainingPayload(
            class_map=request.class_map,
            evaluation_dataset=request.evaluation_dataset,
            resize_rule=plan.resize_rule,
            method="linear" if request.hyperparameters.method == "linear" else None,
            gate_limits=plan.job.gate_rules.has_limits,
        ).model_dump(mode="json", exclude_defaults=True),
        annotations=request.metadata,
    )


def record_warnings(session: Session, job: Job, warnings: Sequence[str]) -> None:
    """Keeps what a plan warns of among the job's events."""
    for warning in warnings:
        append_event(session, job, "warning", message=warning)


def hold_model(session: Session, model_id: str) -> None:
    """Keeps a model until the transaction ends; from then on the job that names it does."""
    model = session.get(TrainedModel, model_id, with_for_update={"read": True}, populate_existing=True)
    if model is None:
        raise ConflictError(
            f"Model {model_id} was removed.", hint="Take another model: `GET /models` lists them."
        )


def plan_job(
    context: AppContext, request: schemas.JobCreate, *, with_forecast: bool = True
) -> schemas.JobPlan:
    """What ``create_job`` would start, with every default resolved; starts nothing."""
    inputs = gather(context, request)
    plan = decide(request, inputs)
    if not with_forecast:
        return plan.job
    return plan.job.model_copy(update={"forecast": forecast_training(context, request, inputs, plan)})


def store_split(storage: Storage, job_id: str, splits: SplitMap) -> None:
    """Which image is in which split, kept here and where other hosts find it."""
    make_folder(storage.job(job_id))  # Absent on another host than the one that took the request.
    write_json(storage.job_split(job_id), splits)
    storage.remote.upload(storage.job_split(job_id))


def get_job(context: AppContext, job_id: str) -> schemas.Job:
    with context.db.read() as session:
        return to_schema(session, require_job(session, job_id))


def list_jobs(
    context: AppContext,
    *,
    product: str | None,
    status: str | None,
    kind: str | None,
    sweep: str | None = None,
    dataset: str | None = None,
    limit: int,
    after: str | None,
) -> Page[schemas.Job]:
    query = select(Job)
    for column, value in (
        (Job.product_id, product),
        (Job.status, status),
        (Job.kind, kind),
        (Job.sweep_id, sweep),
        (Job.dataset_id, dataset),
    ):
        if value is not None:
            query = query.where(column == value)
    with context.db.read() as session:
        return fetch_page(
            session, query, Job.id, lambda row: to_schema(session, row), limit=limit, after=after
        )


def require_job(session: Session, job_id: str) -> Job:
    """The job's row; raises NotFoundError."""
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError(f"There is no job {job_id!r}.", hint="`GET /jobs` lists them.")
    return job


def lock_job(session: Session, job_id: str) -> Job:
    """The job's row, held until the end of the transaction; raises NotFoundError."""
    job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
    if job is None:
        raise NotFoundError(f"There is no job {job_id!r}.", hint="`GET /jobs` lists them.")
    return job


def to_schema(session: Session, job: Job) -> schemas.Job:
    dataset = session.get(Dataset, job.dataset_id) if job.dataset_id else None
    model = session.scalar(select(TrainedModel.id).where(TrainedModel.job_id == job.id))
    return schemas.Job(
        id=job.id,
        kind=job.kind,
        status=job.status,
        stage=job.stage,
        stop_reason=job.stop_reason,
        product=job.product_id,
        dataset=schemas.JobDataset(id=dataset.id, digest=dataset.digest) if dataset else None,
        evaluation_dataset=_evaluation_dataset_of(session, job),
        network=job.network,
        sweep=job.sweep_id,
        hyperparameters=job.hyperparameters,
        split=job.split,
        class_map=TrainingPayload.model_validate(job.payload).class_map,
        seed=(job.hyperparameters or {}).get("seed"),
        device=job.device if job.kind in DEVICE_KINDS else "cpu",
        gpus=job.gpus,
        ran_on=schemas.RanOn(**job.ran_on) if job.ran_on else None,
        waits_for=waits_for(session, job),
        place=place_of(session, job),
        progress=schemas.Progress(**job.progress),
        best=schemas.BestEpoch(**job.best) if job.best else None,
        model=model,
        gate_rules=rules_of(job) if job.kind in MODEL_MAKERS else None,
        gate=read_gate(job, has_model=model is not None),
        error=problem_from_error(job.error, job.id) if job.error else None,
        attempt=job.attempt,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        metadata=job.annotations,
    )


def _evaluation_dataset_of(session: Session, job: Job) -> schemas.JobDataset | None:
    if (dataset_id := evaluation_dataset_of(job)) is None:
        return None
    dataset = session.get(Dataset, dataset_id)
    return schemas.JobDataset(id=dataset_id, digest=dataset.digest if dataset else None)
