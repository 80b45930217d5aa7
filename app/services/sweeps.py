"""Sweeps from the client's side: start, read, cancel."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import ConflictError, NotFoundError
from app.host.files import make_folder
from app.models import Job, Sweep, TrainedModel
from app.models.base import new_id, utc_now
from app.schemas import sweep as schemas
from app.schemas.common import Page, problem_from_error
from app.schemas.job import JobDataset
from app.schemas.sweep_state import Candidate, SweepPlan
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_plan_inputs import gather
from app.services.job_states import hold_job_back, queue_job
from app.services.jobs import hold_inputs, new_training, record_warnings, store_split
from app.services.pages import fetch_page
from app.services.proportions import wilson
from app.services.successive_halving import rank
from app.services.sweep_plan import PlannedSweep, as_job, choose_networks, decide_sweep
from app.services.sweep_progress import RUNNING, add_event, advance, read_candidates


def create_sweep(
    context: AppContext, request: schemas.SweepCreate, idempotent: IdempotentRequest | None = None
) -> Answer:
    """Stores a sweep with all its trainings, of which the first is queued. All of it is there
    once this returns.

    Raises UnknownNetworkError, InvalidRequestError, and what ``create_job`` raises.
    """
    with context.db.read() as session:
        if (before := recall(session, idempotent)) is not None:
            return before
    networks = choose_networks(request)
    inputs = gather(context, as_job(request, networks[0].name, {}), networks)
    if inputs.manifest is None:
        raise ConflictError(
            f"Dataset {inputs.dataset} is still importing.", hint="Wait until its status is 'ready'."
        )
    planned = decide_sweep(request, networks, inputs)
    sweep_id = new_id("swp")
    ids = sorted(new_id("job") for _ in planned.trainings)
    with ExitStack() as undo:
        for job_id in ids:
            folder = context.storage.job(job_id)
            undo.callback(context.storage.discard, folder)
            make_folder(folder)
            store_split(context.storage, job_id, planned.splits)
        with context.db.write() as session:
            if (before := recall(session, idempotent)) is not None:
                return before
            hold_inputs(session, inputs)
            sweep = _new_sweep(sweep_id, request, planned, ids)
            session.add(sweep)
            for number, (job_id, one) in enumerate(zip(ids, planned.trainings, strict=True)):
                job = new_training(job_id, one.request, one.plan)
                job.sweep_id = sweep_id
                job.payload = {**job.payload, "until_epoch": planned.rungs[number][0]}
                if number == 0:
                    queue_job(session, job)
                    sweep.key_id = job.key_id
                else:
                    hold_job_back(session, job)
                    job.key_id = sweep.key_id
                record_warnings(session, job, one.plan.job.warnings)
            add_event(sweep, "accepted", f"{len(ids)} trainings")
            session.flush()
            answer = Answer(_to_schema(session, sweep).model_dump(mode="json"), f"/sweeps/{sweep_id}")
            remember(session, idempotent, 201, answer)
        undo.pop_all()
    context.queue.enqueue(ids[0], "training", request.device)
    return answer


def get_sweep(context: AppContext, sweep_id: str) -> schemas.Sweep:
    with context.db.read() as session:
        return _to_schema(session, _require(session.get(Sweep, sweep_id), sweep_id))


def list_sweeps(
    context: AppContext, *, product: str | None, status: str | None, limit: int, after: str | None
) -> Page[schemas.Sweep]:
    query = select(Sweep)
    for column, value in ((Sweep.product_id, product), (Sweep.status, status)):
        if value is not None:
            query = query.where(column == value)
    with context.db.read() as session:
        return fetch_page(
            session, query, Sweep.id, lambda row: _to_schema(session, row), limit=limit, after=after
        )


def cancel_sweep(context: AppContext, sweep_id: str) -> tuple[schemas.Sweep, bool]:
    """Ends a sweep and all its trainings. Returns it, and whether that had been asked before."""
    with context.db.write() as session:
        sweep = _require(session.get(Sweep, sweep_id, with_for_update=True), sweep_id)
        was_asked = sweep.status == "cancelled" or sweep.cancel_requested
        if sweep.status not in (RUNNING, "cancelled"):
            raise ConflictError(f"Sweep {sweep_id} is {sweep.status} already; there is nothing to cancel.")
        if not was_asked:
            sweep.cancel_requested = True
            add_event(sweep, "cancel_requested", "")
    advance(context, sweep_id)
    return get_sweep(context, sweep_id), was_asked


def _require(sweep: Sweep | None, sweep_id: str) -> Sweep:
    if sweep is None:
        raise NotFoundError(f"There is no sweep {sweep_id!r}.", hint="`GET /sweeps` lists them.")
    return sweep


def _new_sweep(sweep_id: str, request: schemas.SweepCreate, planned: PlannedSweep, ids: list[str]) -> Sweep:
    first = planned.trainings[0].plan.job
    plan = SweepPlan(
        keep=request.keep,
        monitor=planned.trainings[0].hyperparameters.monitor,
        cuts=planned.cuts,
        split=first.split,
        dataset_digest=first.dataset.digest,
        evaluation_dataset=request.evaluation_dataset,
        class_map=request.class_map,
        gate_rules=first.gate_rules,
        device=request.device,
        gpus=request.gpus,
        budget_seconds=request.budget_seconds,
        estimated_seconds=planned.estimated_seconds,
        skipped=planned.skipped,
        metadata=request.metadata,
    )
    candidates = [
        Candidate(
            number=number,
            network=one.plan.job.network,
            settings=one.settings,
            job=job_id,
            rungs=planned.rungs[number],
            milliseconds=one.cost.milliseconds,
            bytes=one.cost.bytes,
        )
        for number, (job_id, one) in enumerate(zip(ids, planned.trainings, strict=True))
    ]
    return Sweep(
        id=sweep_id,
        product_id=first.product,
        dataset_id=first.dataset.id,
        status=RUNNING,
        plan=plan.model_dump(mode="json"),
        candidates=[one.model_dump(mode="json") for one in candidates],
        events=[],
        created_at=utc_now(),
    )


# --- As clients see it -----------------------------------------------------------------------------------


def _to_schema(session: Session, sweep: Sweep) -> schemas.Sweep:
    plan = SweepPlan.model_validate(sweep.plan)
    candidates = read_candidates(session, sweep)
    shown = _show_candidates(session, sweep, plan, candidates)
    return schemas.Sweep(
        id=sweep.id,
        status=sweep.status,
        product=sweep.product_id,
        dataset=JobDataset(id=sweep.dataset_id, digest=plan.dataset_digest),
        evaluation_dataset=plan.evaluation_dataset,
        split=plan.split,
        class_map=plan.class_map,
        gate_rules=plan.gate_rules,
        device=plan.device,
        gpus=plan.gpus,
        keep=plan.keep,
        monitor=plan.monitor,
        cut=sweep.rung if sweep.winner is None else plan.cuts,
        cuts=plan.cuts,
        budget_seconds=plan.budget_seconds,
        estimated_seconds=plan.estimated_seconds,
        seconds=_seconds(sweep, _started(session, sweep)),
        winner=sweep.winner,
        model=next((one.model for one in shown if one.job == sweep.winner), None),
        candidates=shown,
        skipped=[schemas.SkippedNetwork(**one.model_dump()) for one in plan.skipped],
        events=[schemas.SweepEvent(**one) for one in sweep.events],
        error=problem_from_error(sweep.error, sweep.id) if sweep.error else None,
        metadata=plan.metadata,
        created_at=sweep.created_at,
        started_at=_started(session, sweep),
        finished_at=sweep.finished_at,
    )


def _started(session: Session, sweep: Sweep) -> datetime | None:
    """When the first of its trainings started."""
    if sweep.started_at is not None:
        return sweep.started_at
    starts = session.scalars(
        select(Job.started_at).where(Job.sweep_id == sweep.id, Job.started_at.is_not(None))
    )
    return min((at for at in starts if at is not None), default=None)


def _seconds(sweep: Sweep, started: datetime | None) -> float | None:
    if started is None:
        return None
    return round(((sweep.finished_at or utc_now()) - started).total_seconds(), 1)


def _show_candidates(
    session: Session, sweep: Sweep, plan: SweepPlan, candidates: list[Candidate]
) -> list[schemas.SweepCandidate]:
    ids = [one.job for one in candidates]
    of_sweep = select(Job.id, Job.status).where(Job.id.in_(ids))
    statuses: dict[str, Any] = {row.id: row.status for row in session.execute(of_sweep)}
    models = {
        model.job_id: model
        for model in session.scalars(select(TrainedModel).where(TrainedModel.job_id.in_(ids)))
    }
    images = int((plan.split.get("counts") or {}).get("valid", 0))
    front = find_front(candidates)
    ranked = rank(candidates, plan.monitor)
    # The winner leads, whoever came near it later.
    ranked.sort(key=lambda one: one.job != sweep.winner)
    shown = []
    for place, one in enumerate(ranked, start=1):
        model = models.get(one.job)
        speed = None if model is None else model.serving.get("milliseconds")
        shown.append(
            schemas.SweepCandidate(
                network=one.network,
                settings=one.settings,
                job=one.job,
                job_status=statuses.get(one.job),
                standing=one.standing,
                reason=one.reason,
                place=place if one.score is not None else None,
                accuracy=None if one.score is None else wilson(one.score.accuracy, images),
                loss=None if one.score is None else one.score.loss,
                best_epoch=None if one.score is None else one.score.epoch,
                epoch=one.reached,
                epochs=one.epochs,
                rungs=list(one.rungs),
                milliseconds=one.milliseconds if speed is None else speed,
                is_timed=speed is not None,
                bytes=one.bytes if model is None else int(model.serving["bytes"]),
                on_front=one.number in front,
                seconds=one.seconds,
                model=None if model is None else model.id,
                test_accuracy=None if model is None else model.metrics["accuracy"]["value"],
            )
        )
    return shown


def find_front(candidates: list[Candidate]) -> set[int]:
    """The numbers of those that no other equals or beats in both accuracy and speed, and beats in one."""
    points = {
        one.number: (one.score.accuracy, -one.milliseconds)
        for one in candidates
        if one.score is not None and one.milliseconds is not None
    }
    return {
        number
        for number, point in points.items()
        if not any(
            other != point and other[0] >= point[0] and other[1] >= point[1] for other in points.values()
        )
    }
