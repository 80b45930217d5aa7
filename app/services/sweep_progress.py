"""How a sweep moves on: its state is read, the next moves are decided, and made in one transaction.

Nobody has to be at a certain place for it: whoever calls ``advance``, however often and in whatever order,
comes to the same end. Workers call it when they leave a candidate, and the reaper in every round, so that a
lost process leaves no sweep behind. Rows are locked in one order: the sweep, its jobs by id, the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.job_queue import TASK_QUEUE
from app.models import Dataset, Job, JobEpoch, JobEvent, Sweep, Worker
from app.models.base import db_now, utc_now
from app.schemas.job_payloads import TrainingPayload
from app.schemas.sweep_state import Candidate, Score, SweepPlan
from app.services import webhook_events
from app.services.job_lifecycle import clean_up, mark_cancelled
from app.services.job_states import append_event, move_job
from app.services.key_quotas import default_limits, limits_of_job
from app.services.sweep_costs import END_SECONDS, START_SECONDS
from app.services.sweep_rules import JobView, Moves, Target, View, decide
from app.services.workers import LIVING_SECONDS, require_workers_for

RUNNING = "running"
_ROUNDS = 20
"""More than any sweep needs until its jobs have to go on: a guard against rules that never rest."""


@dataclass
class _After:
    """What follows once the transaction is committed."""

    announce: list[Job] = field(default_factory=list)
    clean_up: list[str] = field(default_factory=list)


def advance(context: AppContext, sweep_id: str) -> None:
    """Makes the moves that are due; nothing where there are none."""
    with context.db.read() as session:
        sweep = session.get(Sweep, sweep_id)
        if sweep is None or sweep.status != RUNNING or not _is_due(context, session, sweep):
            return
    after = _After()
    with context.db.write() as session:
        sweep = session.get(Sweep, sweep_id, with_for_update=True, populate_existing=True)
        if sweep is None or sweep.status != RUNNING:
            return
        of_sweep = select(Job).where(Job.sweep_id == sweep_id).order_by(Job.id)
        jobs = session.scalars(
            of_sweep.with_for_update(), execution_options={"populate_existing": True}
        ).all()
        for _ in range(_ROUNDS):
            moves = decide(_look(context, session, sweep, jobs))
            if not moves:
                break
            _make(session, sweep, {job.id: job for job in jobs}, moves, after)
            session.flush()
            if moves.status is not None:
                break
    for job in after.announce:
        context.queue.enqueue(job.id, job.kind, job.device)
    for job_id in after.clean_up:
        clean_up(context, job_id)


def advance_with(context: AppContext, job_id: str) -> None:
    """Moves on the sweep of a job, if it is of one."""
    with context.db.read() as session:
        sweep_id = session.scalar(select(Job.sweep_id).where(Job.id == job_id))
    if sweep_id is not None:
        advance(context, sweep_id)


def list_running(context: AppContext) -> list[str]:
    """The sweeps that have not ended, oldest first."""
    with context.db.read() as session:
        return list(session.scalars(select(Sweep.id).where(Sweep.status == RUNNING).order_by(Sweep.id)))


def read_candidates(session: Session, sweep: Sweep) -> list[Candidate]:
    """The candidates with what their jobs say now; of deleted jobs with what was known last."""
    stored = [Candidate.model_validate(one) for one in sweep.candidates]
    ids = [one.job for one in stored]
    scores, reached = _read_epochs(session, ids)
    seconds = _read_seconds(session, ids)
    return [
        one.model_copy(
            update={
                "score": scores.get(one.job, one.score),
                "reached": max(reached.get(one.job, 0), one.reached),
                "seconds": seconds.get(one.job, one.seconds),
            }
        )
        for one in stored
    ]


# --- Looking ---------------------------------------------------------------------------------------------


def _is_due(context: AppContext, session: Session, sweep: Sweep) -> bool:
    jobs = session.scalars(select(Job).where(Job.sweep_id == sweep.id).order_by(Job.id)).all()
    has_begun = sweep.started_at is None and any(job.started_at for job in jobs)
    return has_begun or bool(decide(_look(context, session, sweep, jobs)))


def _look(context: AppContext, session: Session, sweep: Sweep, jobs: Sequence[Job]) -> View:
    plan = SweepPlan.model_validate(sweep.plan)
    started = min((job.started_at for job in jobs if job.started_at is not None), default=None)
    time_is_up = False
    if plan.budget_seconds is not None and started is not None:
        left = plan.budget_seconds - (utc_now() - started).total_seconds()
        time_is_up = left <= START_SECONDS + END_SECONDS
    return View(
        plan=plan,
        candidates=read_candidates(session, sweep),
        jobs={job.id: _view(job) for job in jobs},
        rung=sweep.rung,
        winner=sweep.winner,
        room=_room(context, session, sweep, jobs),
        time_is_up=time_is_up,
        is_cancelled=sweep.cancel_requested,
        has_dataset=session.get(Dataset, sweep.dataset_id) is not None,
        is_failing=sweep.error is not None,
    )


def _view(job: Job) -> JobView:
    return JobView(
        status=job.status,
        until_epoch=TrainingPayload.model_validate(job.payload).until_epoch,
        is_trained=job.stop_reason is not None,
        is_asked=job.pause_requested or job.stop_requested,
        is_leaving=job.cancel_requested,
        error=(job.error or {}).get("detail"),
    )


def _read_epochs(session: Session, ids: Sequence[str]) -> tuple[dict[str, Score], dict[str, int]]:
    """By job: its best validation, and the epochs that it has trained."""
    counted = (
        select(JobEpoch.job_id, func.max(JobEpoch.epoch).label("last"))
        .where(JobEpoch.job_id.in_(ids))
        .group_by(JobEpoch.job_id)
    )
    last = {row.job_id: row.last for row in session.execute(counted)}
    scores: dict[str, Score] = {}
    rows = select(JobEpoch).where(JobEpoch.job_id.in_(ids), JobEpoch.is_best).order_by(JobEpoch.epoch)
    for row in session.scalars(rows):
        if row.valid_accuracy is not None and row.valid_loss is not None:
            scores[row.job_id] = Score(epoch=row.epoch, accuracy=row.valid_accuracy, loss=row.valid_loss)
    return scores, last


def _read_seconds(session: Session, ids: Sequence[str]) -> dict[str, float]:
    """By job: how long workers have had it, by its events; one that runs counts until now."""
    events = session.execute(
        select(JobEvent.job_id, JobEvent.data, JobEvent.created_at)
        .where(JobEvent.job_id.in_(ids), JobEvent.type == "status")
        .order_by(JobEvent.job_id, JobEvent.number)
    )
    seconds: dict[str, float] = {}
    began: dict[str, Any] = {}
    for job_id, data, at in events:
        if (start := began.pop(job_id, None)) is not None:
            seconds[job_id] = seconds.get(job_id, 0.0) + (at - start).total_seconds()
        if data.get("status") == "running":
            began[job_id] = at
    for job_id, start in began.items():
        seconds[job_id] = seconds.get(job_id, 0.0) + (utc_now() - start).total_seconds()
    return {job_id: round(value, 1) for job_id, value in seconds.items()}


def _room(context: AppContext, session: Session, sweep: Sweep, jobs: Sequence[Job]) -> int:
    """How many more of the jobs may wait or run: as many as workers take at once, or the key may have.

    No more, so that jobs of others get their turn between them.
    """
    active = sum(job.status in ("queued", "running") for job in jobs)
    slots = session.scalar(
        select(func.sum(Worker.concurrency)).where(
            Worker.beat_at > db_now() - LIVING_SECONDS,
            Worker.queue != TASK_QUEUE,
        )
    )
    room = max(1, int(slots or 0)) - active
    if sweep.key_id is None or not jobs:
        return max(0, room)
    most = limits_of_job(session, jobs[0], default_limits(context.settings)).concurrent_jobs
    if most is None:
        return max(0, room)
    of_key = (Job.key_id == sweep.key_id, Job.status.in_(("queued", "running")))
    return max(0, min(room, most - (session.scalar(select(func.count(Job.id)).where(*of_key)) or 0)))


# --- Acting ----------------------------------------------------------------------------------------------


def _make(session: Session, sweep: Sweep, jobs: dict[str, Job], moves: Moves, after: _After) -> None:
    candidates = read_candidates(session, sweep)
    for job_id, target in moves.targets.items():
        _set_target(jobs[job_id], target, candidates)
    for job_id in moves.queue:
        _queue(session, jobs[job_id], after)
    for job_id in moves.rest:
        _pause(session, jobs[job_id])
    for job_id in moves.stop:
        _set_target(jobs[job_id], Target(None, "budget_reached"), candidates)
        jobs[job_id].stop_requested = True
        append_event(session, jobs[job_id], "stop_requested", reason="budget_reached")
    for job_id in moves.cancel:
        _cancel(session, jobs[job_id], moves, after)
    candidates = [
        one
        if one.job not in moves.standings
        else one.model_copy(update=dict(zip(("standing", "reason"), moves.standings[one.job], strict=True)))
        for one in candidates
    ]
    sweep.candidates = [one.model_dump(mode="json") for one in candidates]
    for event in moves.events:
        add_event(sweep, *event)
    started = min((job.started_at for job in jobs.values() if job.started_at is not None), default=None)
    sweep.started_at = sweep.started_at or started
    sweep.rung = sweep.rung if moves.rung is None else moves.rung
    sweep.winner = moves.winner or sweep.winner
    sweep.error = sweep.error if moves.error is None else moves.error.as_dict()
    if moves.status is not None:
        sweep.status, sweep.finished_at = moves.status, utc_now()
        add_event(sweep, "ended", moves.status)
        webhook_events.sweep_ended(session, sweep)


def add_event(sweep: Sweep, event_type: str, detail: str) -> None:
    """Notes what happened to the sweep."""
    event = {"at": utc_now().isoformat(), "type": event_type, "detail": detail}
    sweep.events = [*(sweep.events or []), event]


def _set_target(job: Job, target: Target, candidates: Sequence[Candidate]) -> None:
    named: dict[str, Any] = {"until_epoch": target.until_epoch, "ends_as": target.ends_as}
    if target.until_epoch is None or target.ends_as is not None:
        # It becomes a model: what is promised of it must know how many the validation images chose from.
        named["tried_elsewhere"] = sum(one.reached for one in candidates if one.job != job.id)
    payload = {name: value for name, value in job.payload.items() if name not in named}
    job.payload = payload | {name: value for name, value in named.items() if value is not None}


def _queue(session: Session, job: Job, after: _After) -> None:
    require_workers_for(session, job)
    job.dispatched_at = db_now()
    move_job(session, job, "queued", reason="sweep")
    after.announce.append(job)


def _pause(session: Session, job: Job) -> None:
    if job.status == "running":
        job.pause_requested = True
        append_event(session, job, "pause_requested", reason="budget_reached")
    elif job.status == "queued":
        move_job(session, job, "paused", reason="budget_reached")


def _cancel(session: Session, job: Job, moves: Moves, after: _After) -> None:
    """One that lost ends as pruned; one that runs is cancelled by its worker."""
    if moves.standings.get(job.id, ("", None))[0] == "lost":
        job.stop_reason = "pruned"
    if job.status == "running":
        job.cancel_requested = True
        append_event(session, job, "cancel_requested", reason="sweep")
        return
    mark_cancelled(session, job)
    after.clean_up.append(job.id)
