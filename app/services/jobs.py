"""Jobs from the client's side: plan, create, read."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.child import write_json
from app.context import AppContext
from app.datasets.manifest import Split
from app.datasets.split import split_dataset
from app.errors import ConflictError, FieldError, InvalidRequestError, NotFoundError
from app.host import failpoints
from app.host.files import make_folder
from app.models import Dataset, Job, Product, TrainedModel
from app.models.base import new_id
from app.schemas import job as schemas
from app.schemas.common import Page, problem_from_error
from app.schemas.job_kinds import JOB_KINDS
from app.services import job_defaults
from app.services.datasets import cached_manifest, require_dataset, require_ready
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import queue_job
from app.services.pages import fetch_page
from app.services.products import require_product
from app.services.promotion import read_gate, rules_of
from app.services.workers import waits_for
from app.storage.dataset_packs import fetch_dataset
from app.training.data_order import count_steps


def create_job(
    context: AppContext, request: schemas.JobCreate, idempotent: IdempotentRequest | None = None
) -> Answer:
    """Stores a training as a queued job and announces it. The job exists once this returns."""
    with context.db.read() as session:
        if (before := recall(session, idempotent)) is not None:
            return before
        # Planned before the transaction that writes: dividing a large dataset takes a while.
        plan, splits = _plan(context, session, request)
    job_id = new_id("job")
    folder = context.storage.job(job_id)
    with ExitStack() as undo:
        undo.callback(context.storage.discard, folder)
        make_folder(folder)
        write_json(context.storage.job_split(job_id), splits)
        context.storage.share(context.storage.job_split(job_id))
        with context.db.write() as session:
            if (before := recall(session, idempotent)) is not None:
                return before
            job = Job(
                id=job_id,
                kind="training",
                product_id=plan.product,
                dataset_id=plan.dataset.id,
                network=plan.network,
                hyperparameters=plan.hyperparameters,
                split=plan.split,
                device=plan.device,
                gpus=plan.gpus,
                gate_rules=plan.gate_rules.model_dump(mode="json"),
                annotations=request.metadata,
            )
            queue_job(session, job)
            answer = Answer(to_schema(session, job).model_dump(mode="json"), f"/jobs/{job.id}")
            remember(session, idempotent, 201, answer)
        undo.pop_all()
    failpoints.pass_by("submit.committed")
    context.queue.enqueue(job.id, job.kind, job.device)
    return answer


def plan_job(context: AppContext, request: schemas.JobCreate) -> schemas.JobPlan:
    """What ``create_job`` would start, with every default resolved; starts nothing."""
    with context.db.read() as session:
        return _plan(context, session, request)[0]


def get_job(context: AppContext, job_id: str) -> schemas.Job:
    with context.db.read() as session:
        return to_schema(session, require_job(session, job_id))


def list_jobs(
    context: AppContext,
    *,
    product: str | None,
    status: str | None,
    kind: str | None,
    limit: int,
    after: str | None,
) -> Page[schemas.Job]:
    query = select(Job)
    for column, value in ((Job.product_id, product), (Job.status, status), (Job.kind, kind)):
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
    dataset = session.get_one(Dataset, job.dataset_id) if job.dataset_id else None
    model = session.scalar(select(TrainedModel.id).where(TrainedModel.job_id == job.id))
    return schemas.Job(
        id=job.id,
        kind=job.kind,
        status=job.status,
        stage=job.stage,
        stop_reason=job.stop_reason,
        product=job.product_id,
        dataset=schemas.JobDataset(id=dataset.id, digest=dataset.digest) if dataset else None,
        network=job.network,
        hyperparameters=job.hyperparameters,
        split=job.split,
        seed=(job.hyperparameters or {}).get("seed"),
        device=job.device if JOB_KINDS[job.kind].uses_device else "cpu",
        gpus=job.gpus,
        ran_on=schemas.RanOn(**job.ran_on) if job.ran_on else None,
        waits_for=waits_for(session, job),
        progress=schemas.Progress(**job.progress),
        best=schemas.BestEpoch(**job.best) if job.best else None,
        model=model,
        gate_rules=rules_of(job) if job.kind == "training" else None,
        gate=read_gate(job, has_model=model is not None),
        error=problem_from_error(job.error, job.id) if job.error else None,
        attempt=job.attempt,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        metadata=job.annotations,
    )


def _plan(
    context: AppContext, session: Session, request: schemas.JobCreate
) -> tuple[schemas.JobPlan, dict[str, Split]]:
    product = require_product(session, request.product)
    dataset = _choose_dataset(session, product, request.dataset)
    manifest = cached_manifest(fetch_dataset(context.storage, dataset.id))
    network = job_defaults.choose_network(request.network, product, context.storage)
    seed = request.split.seed if request.split.seed is not None else request.hyperparameters.seed
    splits = dict(split_dataset(manifest, request.split, seed))
    counts = Counter(splits.values())
    resolved = job_defaults.resolve(
        request.hyperparameters, network, product, manifest, counts["train"], session, context.storage
    )
    _check_gpus(request.gpus, counts["train"], resolved.batch_size)
    plan = schemas.JobPlan(
        product=product.id,
        dataset=schemas.JobDataset(id=dataset.id, digest=dataset.digest),
        network=network.name,
        hyperparameters=resolved.model_dump(mode="json"),
        split={
            **request.split.model_dump(mode="json"),
            "seed": seed,
            "counts": {name: counts[name] for name in ("train", "valid", "test")},
        },
        gate_rules=request.gate.model_copy(update={"min_accuracy": resolved.min_accuracy}),
        seed=resolved.seed,
        device=request.device,
        gpus=request.gpus,
    )
    return plan, splits


def _check_gpus(gpus: int, items: int, batch_size: int) -> None:
    smallest = items // count_steps(items, batch_size)
    if gpus > smallest:
        raise InvalidRequestError(
            f"Batches of {smallest} pictures cannot be divided among {gpus} GPUs.",
            hint="Ask for fewer gpus, or for a larger batch_size.",
            errors=(FieldError("/gpus", f"at most {smallest}"),),
        )


def _choose_dataset(session: Session, product: Product, dataset_id: str | None) -> Dataset:
    if dataset_id is not None:
        dataset = require_dataset(session, dataset_id)
        if dataset.product_id != product.id:
            raise InvalidRequestError(
                f"Dataset {dataset_id} belongs to product {dataset.product_id!r}, not to {product.id!r}.",
                errors=(FieldError("/dataset", "belongs to another product"),),
            )
        return require_ready(dataset)
    rows = select(Dataset).where(Dataset.product_id == product.id).order_by(Dataset.id.desc())
    newest = session.scalar(rows.where(Dataset.status == "ready").limit(1)) or session.scalar(rows.limit(1))
    if newest is None:
        raise ConflictError(
            f"Product {product.id!r} has no dataset to train on.",
            hint=f"Import pictures first: `POST /products/{product.id}/datasets`.",
        )
    return require_ready(newest)
