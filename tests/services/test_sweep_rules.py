"""Whatever its jobs meet, a sweep ends, with one model or a reason: the rules alone, with random fates"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas.sweep_state import Candidate, Keep, Score
from app.services.job_states import TERMINAL, TRANSITIONS
from app.services.successive_halving import count_survivors, plan_cuts, plan_rungs, rank
from app.services.sweep_costs import END_SECONDS, START_SECONDS, estimate_seconds
from app.services.sweep_rules import JobView, Moves, View, decide
from tests.models.test_product_limits import SWEEP_PLAN

EPOCHS = 16
Fate = Literal["works", "fails", "is lost"]


def make_view(candidates: int, keep: Keep, room: int = 1) -> View:
    cuts = plan_cuts(candidates, [(EPOCHS, 1)] * candidates)
    rungs = plan_rungs(EPOCHS, 1, cuts)
    return View(
        plan=SWEEP_PLAN.model_copy(update={"keep": keep, "cuts": cuts}),
        candidates=[
            Candidate(
                number=number, network=f"n{number}", settings={}, job=f"job_{number}", rungs=rungs,
                milliseconds=1.0, bytes=1,
            )
            for number in range(candidates)
        ],
        jobs={f"job_{number}": JobView("paused", until_epoch=rungs[0]) for number in range(candidates)},
        rung=0, winner=None, room=room,
    )  # fmt: skip


@dataclass
class Play:
    """A sweep whose moves are made on the view alone, and whose jobs go as they are told or by chance."""

    view: View
    models: list[str] = field(default_factory=list)
    status: str | None = None

    def advance(self) -> None:
        for _ in range(20):
            moves = decide(self._with_room())
            if not moves:
                return
            self._make(moves)
            if self.status is not None:
                return
        raise AssertionError("the rules never rest")

    def change(self, job: str, **values: object) -> None:
        self.view = replace(self.view, jobs={**self.view.jobs, job: replace(self.view.jobs[job], **values)})  # type: ignore[arg-type]

    def _with_room(self) -> View:
        active = sum(job.status in ("queued", "running") for job in self.view.jobs.values())
        return replace(self.view, room=max(0, self.view.room - active))

    def _make(self, moves: Moves) -> None:
        for job, target in moves.targets.items():
            self.change(job, until_epoch=target.until_epoch)
        for job in moves.queue:
            self._move(job, "queued")
        for job in [*moves.rest, *moves.stop]:
            if self.view.jobs[job].status == "running":
                self.change(job, is_asked=True)
            else:
                self._move(job, "paused")
        for job in moves.cancel:
            if self.view.jobs[job].status == "running":
                self.change(job, is_leaving=True)
            else:
                self._move(job, "cancelled")
        self.view = replace(
            self.view,
            candidates=[
                one.model_copy(update={"standing": moves.standings[one.job][0]})
                if one.job in moves.standings
                else one
                for one in self.view.candidates
            ],
            rung=self.view.rung if moves.rung is None else moves.rung,
            winner=moves.winner or self.view.winner,
            is_failing=self.view.is_failing or moves.error is not None,
        )
        self.status = moves.status

    def _move(self, job: str, status: str) -> None:
        assert status in TRANSITIONS[self.view.jobs[job].status]
        self.change(job, status=status)

    def run(self, job: str, fate: Fate, accuracy: float) -> None:
        """A worker takes the job, and it leaves as it was told, or not."""
        state = self.view.jobs[job]
        self._move(job, "running")
        if state.is_leaving:
            return self._move(job, "cancelled")
        if fate == "fails":
            return self._move(job, "failed")
        if fate == "is lost":
            return self._move(job, "queued")
        until = EPOCHS if state.until_epoch is None else state.until_epoch
        self.view = replace(
            self.view,
            candidates=[
                one.model_copy(
                    update={
                        "reached": max(one.reached, until),
                        "score": Score(epoch=1, accuracy=accuracy, loss=1),
                    }
                )
                if one.job == job
                else one
                for one in self.view.candidates
            ],
        )
        is_last = job == self.view.winner or self._has_lost(job)
        if is_last:
            self.models.append(job)
            return self._move(job, "succeeded")
        self._move(job, "paused")
        return self.change(job, is_trained=until == EPOCHS, is_asked=False)

    def _has_lost(self, job: str) -> bool:
        return any(one.standing == "lost" for one in self.view.candidates if one.job == job)


FATES: tuple[Fate, ...] = ("works", "works", "works", "works", "fails", "is lost")
EVENTS = [None] * 30 + ["cancel", "time", "dataset", "delete", "cancel one"]


@pytest.mark.parametrize("keep", ["winner", "all"])
def test_every_sweep_ends_and_leaves_one_model_or_none_if_only_the_winner_is_kept(keep: Keep) -> None:
    for seed in range(150):
        chance = random.Random(seed)
        play = Play(make_view(chance.randint(1, 9), keep, chance.randint(1, 3)))
        play.advance()
        for _ in range(200):
            if play.status is not None:
                break
            happen(play, chance.choice(EVENTS))
            play.advance()
            queued = [job for job, state in play.view.jobs.items() if state.status == "queued"]
            if play.status is None:
                assert queued, f"seed {seed}: nothing is under way, and the sweep has not ended"
                play.run(chance.choice(queued), chance.choice(FATES), chance.random())
                play.advance()
        assert play.status is not None, seed
        assert all(job.status in TERMINAL for job in play.view.jobs.values()), seed
        won = [one.job for one in play.view.candidates if one.standing == "won"]
        # A cancel may come when the winner is a model already, and others are still to become one.
        assert (play.status == "succeeded") <= (won == [play.view.winner] and won[0] in play.models), seed
        assert play.status != "failed" or not play.models, seed
        if play.status == "succeeded":
            assert not any(one.standing == "racing" for one in play.view.candidates), seed
            assert keep == "all" or play.models == won, seed


def happen(play: Play, event: str | None) -> None:
    match event:
        case "cancel":
            play.view = replace(play.view, is_cancelled=True)
        case "time":
            play.view = replace(play.view, time_is_up=True)
        case "dataset":
            play.view = replace(play.view, has_dataset=False)
        case "cancel one":
            for job, state in play.view.jobs.items():
                if state.status in ("queued", "paused"):
                    play.change(job, status="cancelled")
                    return
        case "delete":
            for job, state in play.view.jobs.items():
                if state.status in TERMINAL:
                    play.view = replace(
                        play.view, jobs={name: one for name, one in play.view.jobs.items() if name != job}
                    )
                    return


def test_a_view_that_asks_for_nothing_is_answered_with_nothing() -> None:
    view = make_view(2, "winner", room=0)
    assert not decide(replace(view, jobs={name: JobView("running") for name in view.jobs}))


def test_the_epochs_of_comparison_are_halves_behind_the_frozen_epochs() -> None:
    assert plan_cuts(8, [(20, 3)] * 8) == 2
    assert plan_rungs(20, 3, 2) == (5, 10, 20)
    assert plan_rungs(20, 3, 1) == (10, 20)
    assert plan_cuts(3, [(20, 3)] * 3) == 2
    assert plan_cuts(8, [(7, 1)] * 8) == 2
    assert plan_rungs(7, 1, 2) == (2, 4, 7)
    assert plan_cuts(8, [(1, 0)] * 8) == 0
    assert plan_rungs(1, 1, 0) == (1,)
    assert plan_rungs(4, 3, 1) == (2, 4)
    assert plan_cuts(1, [(20, 3)]) == 0


@given(st.integers(1, 10_000), st.integers(0, 10_000), st.integers(1, 100))
def test_epochs_of_comparison_rise_to_all_of_them(epochs: int, frozen: int, candidates: int) -> None:
    cuts = plan_cuts(candidates, [(epochs, min(frozen, epochs))])
    rungs = plan_rungs(epochs, min(frozen, epochs), cuts)
    assert len(rungs) == cuts + 1
    assert rungs[-1] == epochs
    assert all(0 < first < second for first, second in pairwise(rungs))
    assert count_survivors(candidates, 0) == candidates


def test_the_ranking_goes_by_the_monitor_and_then_by_the_other_figure_and_speed() -> None:
    def candidate(number: int, accuracy: float, loss: float, milliseconds: float | None) -> Candidate:
        return Candidate(
            number=number, network="n", settings={}, job=f"job_{number}", rungs=(1,),
            milliseconds=milliseconds, bytes=1, score=Score(epoch=1, accuracy=accuracy, loss=loss),
        )  # fmt: skip

    several = [
        candidate(0, 0.9, 0.5, 3.0), candidate(1, 0.9, 0.4, 9.0), candidate(2, 0.8, 0.1, 1.0),
        candidate(3, 0.9, 0.5, 2.0), candidate(4, 0.9, 0.5, None),
        candidate(5, 0, 0, 0).model_copy(update={"score": None}),
    ]  # fmt: skip
    assert [one.number for one in rank(several, "valid_accuracy")] == [1, 3, 0, 4, 2, 5]
    assert [one.number for one in rank(several, "valid_loss")] == [2, 1, 3, 0, 4, 5]


def test_the_time_of_a_sweep_is_that_of_all_its_rungs_and_starts() -> None:
    alone = estimate_seconds([2.0], [(10,)])
    assert alone == 2 * START_SECONDS + END_SECONDS + 20
    # Both train 5 epochs; then the costlier one goes on, at worst.
    assert estimate_seconds([2.0, 1.0], [(5, 10), (5, 10)]) == 4 * START_SECONDS + END_SECONDS + 10 + 5 + 10
