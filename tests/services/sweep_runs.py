"""Candidates of sweeps that are claimed, report and leave as by a worker, without a child that trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.context import AppContext
from app.jobs import claims, progress
from app.jobs.claims import Claim
from app.models import Job, JobEpoch, Sweep, TrainedModel
from app.models.base import new_id
from app.schemas.job_payloads import TrainingPayload
from app.schemas.progress_lines import EpochLine, RungLine, Scores
from app.services.sweep_progress import advance_with
from tests.models.test_product_limits import SWEEP_PLAN
from tests.services.rows import add_product, finish, leave_result, read_job


def add_sweep(context: AppContext) -> str:
    """A sweep that has no candidates left, and has not ended yet; returns its id."""
    product, dataset = add_product(context)
    with context.db.write() as session:
        sweep = Sweep(
            id=new_id("swp"), product_id=product, dataset_id=dataset, status="running",
            plan=SWEEP_PLAN.model_dump(mode="json"), candidates=[],
        )  # fmt: skip
        session.add(sweep)
        return sweep.id


def queued(context: AppContext) -> list[str]:
    with context.db.read() as session:
        return list(session.scalars(select(Job.id).where(Job.status == "queued").order_by(Job.id)))


def take(context: AppContext, job_id: str) -> Claim:
    claim = claims.claim(context, job_id, "a")
    assert claim is not None
    return claim


def report_epochs(context: AppContext, claim: Claim, first: int, last: int, accuracy: float) -> None:
    """So many epochs, each a little better than the one before; the last has the accuracy."""
    lines = [
        EpochLine(
            epoch=number, step=number, train=Scores(loss=0.5, accuracy=0.5), best=True, seconds=1.0,
            valid=Scores(loss=1 - accuracy, accuracy=accuracy - 0.001 * (last - number)), learning_rate=0.01,
        )
        for number in range(first, last + 1)
    ]  # fmt: skip
    progress.report(context, claim, lines)


def work_on(context: AppContext, folder: Path, job_id: str, accuracy: float) -> None:
    """One claim of a candidate: it trains as far as it may, and rests there or becomes a model."""
    claim = take(context, job_id)
    job = read_job(context, job_id)
    payload = TrainingPayload.model_validate(job.payload)
    epochs = (job.hyperparameters or {})["epochs"]
    last = payload.until_epoch or epochs
    reached = epochs_of(context, job_id)
    if reached < last:
        report_epochs(context, claim, reached + 1, last, accuracy)
    if payload.until_epoch is not None and payload.ends_as is None:
        stop_reason = "completed" if last == epochs else None
        progress.report(context, claim, [RungLine(epoch=last, stop_reason=stop_reason)])
        claims.release(context, claim)
    else:
        finish(context, claim, leave_result(folder / f"{job_id}-{claim.fence}"))
    advance_with(context, job_id)


def fail(context: AppContext, job_id: str, detail: str = "It broke.") -> None:
    claims.fail(context, take(context, job_id), {"code": "crashed", "detail": detail, "hint": None,
        "title": "Crashed", "status": 500, "retryable": False, "errors": []})  # fmt: skip
    advance_with(context, job_id)


def work_all(
    context: AppContext,
    folder: Path,
    accuracies: Mapping[str, float],
    before: Callable[[str], object] = lambda _job: None,
) -> list[str]:
    """Works on all that is queued until nothing is; returns the jobs in their order, one for each claim."""
    done = []
    while jobs := queued(context):
        before(jobs[0])
        if jobs[0] not in queued(context):
            continue
        work_on(context, folder, jobs[0], accuracies[jobs[0]])
        done.append(jobs[0])
    return done


def epochs_of(context: AppContext, job_id: str) -> int:
    with context.db.read() as session:
        rows = session.scalars(select(JobEpoch.epoch).where(JobEpoch.job_id == job_id)).all()
    return max(rows, default=0)


def models_of(context: AppContext, sweep: Mapping[str, Any]) -> list[str]:
    ids = [one["job"] for one in sweep["candidates"]]
    with context.db.read() as session:
        return list(session.scalars(select(TrainedModel.job_id).where(TrainedModel.job_id.in_(ids))))
