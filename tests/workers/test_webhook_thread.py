"""The thread that sends: no receiver holds up another, and nothing is lost with a process."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx2 as httpx
import pytest
from prometheus_client import generate_latest

from app.config import Settings
from app.context import AppContext
from app.jobs.webhook_deliveries import CLAIM_SECONDS
from app.workers import webhook_thread
from app.workers.metrics import WorkerMetrics
from app.workers.webhook_thread import WebhookThread
from tests.api.test_metrics import parse, value
from tests.conftest import Service, start_service, stop_service
from tests.receivers import Receiver, receiving
from tests.running import upload_pictures
from tests.services.webhook_rows import add_webhook, deliveries, happen
from tests.waiting import wait_for


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_hosts": ("127.0.0.1",)})


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics()


@pytest.fixture
def sending(any_context: AppContext, metrics: WorkerMetrics) -> Iterator[WebhookThread]:
    """The thread at work; it ends before the database is closed."""
    shutdown = threading.Event()
    thread = WebhookThread(any_context, shutdown, metrics)
    thread.start()
    yield thread
    shutdown.set()
    thread.join()
    for other in threading.enumerate():
        if other.name.startswith("webhook-"):
            other.join()


@pytest.mark.usefixtures("sending")
def test_a_receiver_that_hangs_holds_up_no_other(any_context: AppContext, metrics: WorkerMetrics) -> None:
    with ExitStack() as stack:
        hanging = [stack.enter_context(receiving()) for _ in range(webhook_thread.MOST_AT_ONCE - 1)]
        for receiver in hanging:
            receiver.hang()
            add_webhook(any_context, receiver.url)
        answering = stack.enter_context(receiving())
        add_webhook(any_context, answering.url)
        began = time.monotonic()
        happen(any_context, times=10)
        wait_for(lambda: len(answering.messages) == 10, 9, "every message")
        assert time.monotonic() - began < 9
        assert [len(receiver.messages) for receiver in hanging] == [1] * len(hanging)
        assert len(set(answering.ids)) == 10
        for receiver in hanging:
            receiver.let_go.set()
        wait_for(lambda: all(len(receiver.messages) == 10 for receiver in hanging), 30, "what was held up")
        wait_for(lambda: all(row.status == "delivered" for row in deliveries(any_context)), 10, "the log")
    found = parse(generate_latest(metrics.registry).decode())
    delivered = value(found, "loupe_worker_webhook_deliveries_total", outcome="delivered")
    assert delivered == 10 * webhook_thread.MOST_AT_ONCE


@pytest.mark.usefixtures("sending")
def test_a_receiver_that_comes_back_gets_what_it_missed(
    any_context: AppContext, metrics: WorkerMetrics
) -> None:
    with receiving() as receiver:
        receiver.answer_with(503)
        add_webhook(any_context, receiver.url)
        happen(any_context)
        wait_for(lambda: receiver.messages, 10, "the first attempt")
        receiver.answer_with(204)
        wait_for(lambda: deliveries(any_context)[0].status == "delivered", 15, "the second attempt")
        assert len(receiver.messages) == 2
        assert len(set(receiver.ids)) == 1
    found = parse(generate_latest(metrics.registry).decode())
    assert value(found, "loupe_worker_webhook_deliveries_total", outcome="failed") == 1


def test_many_threads_on_one_database_send_each_message_once(any_context: AppContext) -> None:
    shutdown = threading.Event()
    contexts = [AppContext.open(any_context.settings) for _ in range(4)]
    threads = [WebhookThread(context, shutdown, WorkerMetrics()) for context in contexts]
    with receiving() as receiver:
        for _ in range(3):
            add_webhook(any_context, receiver.url)
        for thread in threads:
            thread.start()
        happen(any_context, times=20)
        wait_for(lambda: all(row.status == "delivered" for row in deliveries(any_context)), 40, "the log")
        shutdown.set()
        for thread in threads:
            thread.join()
        assert len(receiver.messages) == 60
        assert all(row.attempts == 1 for row in deliveries(any_context))
    for context in contexts:
        context.close()


@pytest.fixture
def hooked(tmp_path: Path) -> Iterator[Service]:
    """A whole Loupe that may send to this machine and can be made to fail."""
    (tmp_path / "failpoints").mkdir()
    failing = {"LOUPE_FAILPOINTS": str(tmp_path / "failpoints")}
    service = start_service(tmp_path / "home", LOUPE_WEBHOOK_HOSTS="127.0.0.1", **failing)
    yield service
    stop_service(service)


def expire_claims(service: Service) -> None:
    """The time that a lost attempt has is over."""
    with closing(sqlite3.connect(service.home / "loupe.db", timeout=15)) as database, database:
        database.execute(
            "UPDATE webhook_deliveries SET next_attempt_at = next_attempt_at - ?", (CLAIM_SECONDS,)
        )


@pytest.mark.integration
def test_a_worker_that_is_killed_between_the_message_and_its_record_sends_it_again_under_the_same_id(
    hooked: Service, tmp_path: Path
) -> None:
    kill = tmp_path / "failpoints" / "webhook.sent"
    with receiving() as receiver, hooked.client() as client:
        made = client.post("/webhooks", json={"url": receiver.url, "events": ["dataset.ready"]}).json()
        kill.write_text("kill\n")
        dataset = upload_pictures(client, "screws")["id"]
        wait_for(lambda: kill.read_text() == "", 90, "the kill")
        assert len(receiver.messages) == 1
        [delivery] = client.get(f"/webhooks/{made['id']}/deliveries").json()["data"]
        assert (delivery["status"], delivery["attempts"]) == ("pending", 1)
        expire_claims(hooked)
        wait_for(lambda: len(receiver.messages) == 2, 60, "the second message")
        first, second = receiver.messages
        assert first.id == second.id == delivery["event"]
        assert first.body == second.body
        assert second.verify(made["secret"])["data"]["dataset"] == dataset

        def log() -> list[tuple[str, int]]:
            rows = client.get(f"/webhooks/{made['id']}/deliveries").json()["data"]
            return [(row["status"], row["attempts"]) for row in rows]

        wait_for(lambda: log() == [("delivered", 2)], 10, "the record")


@pytest.mark.integration
def test_what_happened_before_a_restart_is_sent_after_it(hooked: Service) -> None:
    with receiving() as receiver:
        receiver.answer_with(500)
        with hooked.client() as client:
            made = client.post("/webhooks", json={"url": receiver.url, "events": ["job.ended"]}).json()
            upload_pictures(client, "screws")
            wait_for(lambda: receiver.messages, 60, "the first attempt")
        stop_service(hooked)
        receiver.answer_with(204)
        again = start_service(hooked.home, LOUPE_WEBHOOK_HOSTS="127.0.0.1")
        try:
            expire_claims(again)
            wait_for(lambda: len(receiver.messages) > 1, 60, "the next attempt")
            assert len(set(receiver.ids)) == 1
            assert receiver.messages[-1].verify(made["secret"])["type"] == "job.ended"
            assert httpx.get(f"{again.url}/webhooks/{made['id']}").json()["enabled"] is True
        finally:
            stop_service(again)


def test_a_hanging_receiver_is_left_after_ten_seconds(any_context: AppContext) -> None:
    """Also at the end of the process, which waits for what came of it."""
    receiver: Receiver
    with receiving() as receiver:
        receiver.hang()
        add_webhook(any_context, receiver.url)
        happen(any_context)
        shutdown = threading.Event()
        thread = WebhookThread(any_context, shutdown, WorkerMetrics())
        began = time.monotonic()
        thread.start()
        wait_for(lambda: receiver.messages, 5, "the message")
        shutdown.set()
        wait_for(lambda: deliveries(any_context)[0].error, 12, "the record")
        assert 9 < time.monotonic() - began < 12
        thread.join()
