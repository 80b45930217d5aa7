"""A disk that has little space left is said once, and again only after it had enough."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from app.context import AppContext
from app.jobs.low_disk import check_disk
from app.models import LowDisk
from tests.services.webhook_rows import add_webhook, payloads

GIB = 2**30
Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    left = {"gib": 100.0}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, int(left["gib"] * GIB)))
    return left


def test_it_is_said_once_until_there_was_clearly_enough(
    any_context: AppContext, free: dict[str, float]
) -> None:
    add_webhook(any_context)
    for gib, said in ((5.1, 0), (4.9, 1), (4.0, 1), (6.0, 1), (4.9, 1), (6.3, 1), (4.9, 2), (0.1, 2)):
        free["gib"] = gib
        check_disk(any_context)
        assert len(payloads(any_context)) == said, gib
    assert payloads(any_context)[0]["free_bytes"] == int(4.9 * GIB)
    assert payloads(any_context)[0]["threshold_bytes"] == 5 * GIB


def test_two_workers_of_a_host_say_it_once(any_context: AppContext, free: dict[str, float]) -> None:
    add_webhook(any_context)
    free["gib"] = 1
    other = AppContext.open(any_context.settings)
    for context in (any_context, other, any_context):
        check_disk(context)
    other.close()
    assert len(payloads(any_context)) == 1


def test_without_a_webhook_that_takes_it_nothing_is_written(
    context: AppContext, free: dict[str, float]
) -> None:
    add_webhook(context, events=["job.ended"])
    free["gib"] = 1
    check_disk(context)
    with context.db.read() as session:
        assert session.get(LowDisk, "home") is None
    # One that comes later hears of it.
    add_webhook(context)
    check_disk(context)
    assert len(payloads(context)) == 1


def test_hosts_that_share_a_storage_have_a_disk_each(
    shared_context: AppContext, free: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_webhook(shared_context)
    free["gib"] = 1
    for host in ("a", "b", "a"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        check_disk(shared_context)
    assert [row["host"] for row in payloads(shared_context)] == ["a", "b"]


def test_a_real_disk_is_measured(context: AppContext) -> None:
    add_webhook(context)
    everything = AppContext.open(context.settings.model_copy(update={"low_disk_bytes": 2**50}))
    never = AppContext.open(context.settings.model_copy(update={"low_disk_bytes": 0}))
    check_disk(never)
    assert payloads(context) == []
    check_disk(everything)
    assert 0 < payloads(context)[0]["free_bytes"] < 2**50
