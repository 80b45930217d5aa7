"""Trainings accepted while their dataset was importing: announced once it is ready, planned when claimed."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.context import AppContext
from app.jobs.claims import Claim, hold
from app.models import Dataset, Job
from app.models.base import db_now
from app.schemas.job import JobCreate
from app.schemas.job_payloads import TrainingPayload
from app.services.dataset_states import select_waiting
from app.services.job_plan import decide
from app.services.job_plan_inputs import gather
from app.services.jobs import record_warnings, store_split


def find_ready(session: Session, dataset: Dataset) -> list[tuple[str, str, str]]:
    """Id, kind and device of the queued jobs that a dataset, ready now, lets start; to be announced."""
    waiting = session.scalars(select_waiting(dataset).where(Job.status == "queued")).all()
    for job in waiting:
        job.dispatched_at = db_now()
    return [(job.id, job.kind, job.device) for job in waiting]


def resolve_waiting(context: AppContext, claim: Claim) -> None:
    """Decides what a claimed training's plan left open. Does nothing for other jobs; may be repeated.

    Raises the error of what cannot be, ClaimLostError.
    """
    with context.db.read() as session:
        job = session.get_one(Job, claim.job_id)
        if job.is_planned:
            return
        request = _request_of(job)
    plan = decide(request, gather(context, request))
    assert plan.splits is not None, "no claim takes a training whose dataset is not ready"
    store_split(context.storage, claim.job_id, plan.splits)
    with context.db.write() as session:
        job = hold(session, claim)
        job.hyperparameters, job.split = plan.job.hyperparameters, plan.job.split
        record_warnings(session, job, plan.job.warnings)


def _request_of(job: Job) -> JobCreate:
    """What is settled already is asked for as it was settled."""
    split = {name: value for name, value in (job.split or {}).items() if name != "counts"}
    payload = TrainingPayload.model_validate(job.payload)
    return JobCreate.model_validate(
        {
            "product": job.product_id,
            "dataset": job.dataset,
            "network": job.network,
            "device": job.device,
            "gpus": job.gpus,
            "hyperparameters": job.hyperparameters,
            "split": split,
            "class_map": payload.class_map,
            "evaluation_dataset": payload.evaluation_dataset,
        }
    )
