"""Processes learn of each other's changes through the database"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from app.changes import Changes, note_change, watching
from app.context import AppContext
from app.errors import UnavailableError
from tests.waiting import wait_for


class Loads(list[str]):
    """What was loaded, in order; as long as ``fails``, nothing can be."""

    fails = False

    def load(self, topic: str) -> None:
        if self.fails:
            raise UnavailableError("away")
        self.append(topic)


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def other(any_context: AppContext, loads: Loads) -> Iterator[Changes]:
    """Another process on the same database, which keeps two things in memory and has loaded both."""
    with closing(AppContext.open(any_context.settings)) as context:
        for topic in ("keys", "aliases"):
            context.changes.register(topic, lambda topic=topic: loads.load(topic))  # type: ignore[misc]
        context.changes.look()
        assert loads == ["keys", "aliases"]
        loads.clear()
        yield context.changes


def change(context: AppContext, topic: str) -> None:
    with context.db.write() as session:
        note_change(session, topic)


def test_only_what_has_changed_is_loaded_again(any_context: AppContext, other: Changes, loads: Loads) -> None:
    other.look()
    assert loads == []
    for _ in range(2):
        change(any_context, "keys")
    other.look()
    other.look()
    assert loads == ["keys"]
    change(any_context, "keys")
    change(any_context, "aliases")
    change(any_context, "nothing that it keeps")
    other.look()
    assert loads == ["keys", "keys", "aliases"]


def test_a_change_that_is_rolled_back_is_none(any_context: AppContext, other: Changes, loads: Loads) -> None:
    with suppress(RuntimeError), any_context.db.write() as session:
        note_change(session, "keys")
        raise RuntimeError
    other.look()
    assert loads == []


def test_what_could_not_be_loaded_is_tried_again(
    any_context: AppContext, other: Changes, loads: Loads
) -> None:
    change(any_context, "keys")
    loads.fails = True
    with pytest.raises(UnavailableError):
        other.look()
    loads.fails = False
    other.look()
    assert loads == ["keys"]


def test_a_request_that_finds_nothing_makes_few_queries(
    any_context: AppContext, other: Changes, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.changes.MISS_SECONDS", 60.0)
    change(any_context, "keys")
    other.look_after_a_miss()
    assert loads == []
    monkeypatch.setattr("app.changes.MISS_SECONDS", 0.0)
    other.look_after_a_miss()
    assert loads == ["keys"]


def test_a_thread_finds_changes_by_itself(any_context: AppContext, other: Changes, loads: Loads) -> None:
    rounds: list[None] = []
    with watching(other, also=lambda: rounds.append(None)):
        change(any_context, "aliases")
        wait_for(lambda: loads == ["aliases"], 10, "the change", every=0.02)
        assert rounds


def test_an_outage_is_logged_once_and_ends_by_itself(
    any_context: AppContext,
    other: Changes,
    loads: Loads,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("app.changes.ROUND_SECONDS", 0.02)
    caplog.set_level(logging.INFO, "app.changes")
    change(any_context, "keys")
    loads.fails = True
    rounds: list[None] = []
    with watching(other):
        wait_for(lambda: rounds.append(None) or len(rounds) > 10, 5, "some rounds", every=0.02)  # type: ignore[func-returns-value]
        loads.fails = False
        wait_for(lambda: loads == ["keys"], 5, "the end of the outage", every=0.02)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "away What was loaded last counts." in caplog.text


def test_a_change_stands_whether_it_can_be_read_at_once_or_not(
    any_context: AppContext, other: Changes, loads: Loads
) -> None:
    change(any_context, "keys")
    loads.fails = True
    other.look_after_a_change()
    loads.fails = False
    other.look_after_a_change()
    assert loads == ["keys"]
