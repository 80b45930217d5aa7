"""What a sweep does next: pure, from how its jobs stand. The same view always gives the same answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.errors import BudgetReachedError, ConflictError, LoupeError
from app.schemas.job import EarlyEnd
from app.schemas.sweep_state import Candidate, Standing, SweepPlan
from app.services.job_states import TERMINAL
from app.services.successive_halving import count_survivors, rank
from app.words import count


@dataclass(frozen=True)
class JobView:
    """A candidate's job. ``is_trained``: whether its training has ended, by itself or after all epochs."""

    status: str
    until_epoch: int | None = None
    is_trained: bool = False
    is_asked: bool = False
    """To pause or to stop, which it has not done yet."""
    is_leaving: bool = False
    """Whether it was asked to be cancelled."""
    error: str | None = None


@dataclass(frozen=True)
class View:
    """``jobs``: by id, without those that were deleted. ``room``: how many more may be queued or running.
    ``is_failing``: whether it was decided before that it ends without a model.
    """

    plan: SweepPlan
    candidates: Sequence[Candidate]
    jobs: Mapping[str, JobView]
    rung: int
    winner: str | None
    room: int
    time_is_up: bool = False
    is_cancelled: bool = False
    has_dataset: bool = True
    is_failing: bool = False

    def job(self, candidate: Candidate) -> JobView | None:
        return self.jobs.get(candidate.job)

    def has_ended(self, candidate: Candidate) -> bool:
        job = self.job(candidate)
        return job is None or job.status in TERMINAL

    @property
    def racing(self) -> list[Candidate]:
        return [one for one in self.candidates if one.standing == "racing"]


@dataclass(frozen=True)
class Target:
    """How far a job trains from now on, see ``TrainingSpec``; both None: to the end, and into a model."""

    until_epoch: int | None = None
    ends_as: EarlyEnd | None = None


@dataclass
class Moves:
    """What is to be done, in this order. Jobs are named by id."""

    standings: dict[str, tuple[Standing, str | None]] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    queue: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    """To be paused."""
    stop: list[str] = field(default_factory=list)
    """To end early with the best epoch."""
    cancel: list[str] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    rung: int | None = None
    winner: str | None = None
    error: LoupeError | None = None
    status: Literal["succeeded", "failed", "cancelled"] | None = None

    def __bool__(self) -> bool:
        return self != Moves()


def decide(view: View) -> Moves:
    """The next moves; none while the jobs have to go on first."""
    if view.is_cancelled:
        return _end(view, "cancelled", None)
    if view.is_failing:
        return _end(view, "failed", None)
    won = next((one for one in view.candidates if one.standing == "won"), None)
    if won is None and not view.has_dataset:
        return _end(view, "failed", ConflictError("The dataset was deleted.", hint="Import it again."))
    moves = Moves()
    for one in view.racing:
        _note_end(view, one, moves)
    if moves.standings:
        return moves  # The rest is decided with these known.
    racing = view.racing
    winner = next((one for one in racing if one.job == view.winner), None)
    if won is not None:
        _finish(view, moves)
    elif winner is not None:
        _follow_winner(view, winner, moves)
    elif not racing:
        moves = _end(view, "failed", _nobody_left(view))
    elif view.time_is_up:
        _choose_in_time(view, racing, moves)
    else:
        _race(view, racing, moves)
    return moves


def _note_end(view: View, one: Candidate, moves: Moves) -> None:
    """A candidate whose job ended without the sweep's doing leaves the race."""
    job = view.job(one)
    if job is None:
        moves.standings[one.job] = ("cancelled", "its job was deleted")
    elif job.status == "failed":
        moves.standings[one.job] = ("failed", job.error or "its job failed")
    elif job.status == "cancelled":
        moves.standings[one.job] = ("cancelled", "its job was cancelled")
    elif job.status == "succeeded":
        moves.standings[one.job] = ("won", None) if one.job == view.winner else ("lost", "another was better")
    if one.job in moves.standings:
        standing, reason = moves.standings[one.job]
        moves.events.append((f"candidate_{standing}", f"{one.network}{f': {reason}' if reason else ''}"))


# --- The race --------------------------------------------------------------------------------------------


def _race(view: View, racing: list[Candidate], moves: Moves) -> None:
    """Everybody trains to the rung; then about half of them go on."""
    far = [one for one in racing if not _is_at_rung(view, one)]
    if len(racing) == 1 or not far:
        _cut(view, racing, moves)
        return
    for one in far:
        if _resting(view, one) and len(moves.queue) < view.room:
            moves.targets[one.job] = Target(one.rung_at(view.rung))
            moves.queue.append(one.job)


def _is_at_rung(view: View, one: Candidate) -> bool:
    job = view.job(one)
    assert job is not None
    return job.status == "paused" and (job.is_trained or one.reached >= one.rung_at(view.rung))


def _resting(view: View, one: Candidate) -> bool:
    job = view.job(one)
    return job is not None and job.status == "paused"


def _cut(view: View, racing: list[Candidate], moves: Moves) -> None:
    ranked = rank(racing, view.plan.monitor)
    survivors = 1
    if len(racing) > 1 and view.rung < view.plan.cuts:
        survivors = min(len(racing), count_survivors(len(view.candidates), view.rung + 1))
    if survivors == 1:
        # The others rest until it has become a model: if it fails, the next one takes its place.
        _choose(view, ranked[0], moves)
        return
    moves.rung = view.rung + 1
    for place, one in enumerate(ranked[survivors:], start=survivors + 1):
        _lose(
            view, one, f"place {place} of {len(ranked)} after {count(one.reached, 'epoch', 'epochs')}", moves
        )
    names = ", ".join(one.network for one in ranked[:survivors])
    moves.events.append(("cut", f"{names} of {len(ranked)} go on"))


def _choose(view: View, one: Candidate, moves: Moves, ends_as: EarlyEnd | None = None) -> None:
    """The winner becomes a model; first it trains what is left of its epochs, unless it is to end early."""
    moves.winner = one.job
    moves.events.append(("winner", one.network))
    moves.targets[one.job] = Target() if ends_as is None else Target(one.reached, ends_as)
    if _resting(view, one):
        moves.queue.append(one.job)


def _lose(view: View, one: Candidate, reason: str, moves: Moves) -> None:
    moves.standings[one.job] = ("lost", reason)
    if view.plan.keep == "winner":
        _cancel(view, one, moves)


def _cancel(view: View, one: Candidate, moves: Moves) -> None:
    job = view.job(one)
    if job is not None and job.status not in TERMINAL and not job.is_leaving and one.job not in moves.cancel:
        moves.cancel.append(one.job)


# --- When the time is up ---------------------------------------------------------------------------------


def _choose_in_time(view: View, racing: list[Candidate], moves: Moves) -> None:
    """Who trains rests; then the best so far wins with the epochs that it has."""
    busy = [one for one in racing if not _resting(view, one)]
    if busy:
        moves.rest = [one.job for one in busy if not view.jobs[one.job].is_asked]
        return
    best = rank(racing, view.plan.monitor)[0]
    if best.score is None:
        error = BudgetReachedError(
            "The time was over before any network had been validated once.",
            hint="Give a larger budget_seconds, a smaller image_size or faster networks.",
        )
        moves.error = error
        moves.events.append(("time_is_up", error.detail))
        return
    moves.events.append(("time_is_up", "the best so far wins"))
    _choose(view, best, moves, ends_as=None if view.jobs[best.job].is_trained else "budget_reached")


def _follow_winner(view: View, one: Candidate, moves: Moves) -> None:
    job = view.jobs[one.job]
    if job.status == "paused":
        moves.queue.append(one.job)
    if view.time_is_up and job.until_epoch is None and not job.is_trained and not job.is_asked:
        if job.status == "running":
            moves.stop.append(one.job)
        else:
            moves.targets[one.job] = Target(max(1, one.reached), "budget_reached")


# --- The end ---------------------------------------------------------------------------------------------


def _finish(view: View, moves: Moves) -> None:
    """The winner is a model. The others become models too, or leave."""
    rest = [one for one in view.candidates if not view.has_ended(one)]
    if not rest:
        moves.status = "succeeded"
        return
    for one in rest:
        if one.standing == "racing":
            _lose(view, one, "another was better", moves)
        if view.plan.keep == "winner" or one.score is None:
            _cancel(view, one, moves)
        elif _resting(view, one) and len(moves.queue) < view.room:
            moves.targets[one.job] = Target(one.reached, "pruned")
            moves.queue.append(one.job)


def _end(view: View, status: Literal["failed", "cancelled"], error: LoupeError | None) -> Moves:
    """All jobs leave; the sweep ends once they have."""
    moves = Moves(error=error)
    left = [one for one in view.candidates if not view.has_ended(one)]
    for one in left:
        _cancel(view, one, moves)
    for one in view.racing:
        job = view.job(one)
        if job is not None and job.status == "failed":
            moves.standings[one.job] = ("failed", job.error or "its job failed")
        else:
            moves.standings[one.job] = ("cancelled", "the sweep ended")
    if not left:
        moves.status = status
    return moves


def _nobody_left(view: View) -> LoupeError:
    failed = [one.reason for one in view.candidates if one.standing == "failed"]
    if not failed:
        return ConflictError("Every candidate was cancelled.", hint="Start the sweep again.")
    return ConflictError(
        f"No candidate is left: {count(len(failed), 'training', 'trainings')} failed. The first: {failed[0]}",
        hint="`GET /jobs/<id>` says more of each.",
    )
