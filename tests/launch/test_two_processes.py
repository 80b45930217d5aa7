"""Two API processes on one database: what is revoked on one ends on the other"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2 as httpx
import pytest

from app import changes, migrations
from app.api import job_records, waiting
from app.context import AppContext
from tests.api.test_problems import assert_problem
from tests.ports import free_port
from tests.services.rows import add_job
from tests.waiting import wait_for

pytestmark = pytest.mark.integration
PROMISED_SECONDS = 2.0
PATIENCE_SECONDS = 10.0
"""A machine that runs other tests beside this one may take longer than promised."""
FIRST = {"authorization": "Bearer s3cret"}


@contextmanager
def api(home: Path, database: str) -> Iterator[httpx.Client]:
    port = free_port()
    environment = {
        "LOUPE_HOME": str(home),
        "LOUPE_DATABASE_URL": database,
        "LOUPE_API_KEY": "s3cret",
        "LOUPE_PORT": str(port),
    }
    with (home / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.launch.api"],
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for(lambda: is_ready(client), 60, "the API", alive=lambda: process.poll() is None)
            yield client
    finally:
        process.terminate()
        process.wait(30)


def is_ready(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/readyz").status_code == 200
    return False


@pytest.fixture
def context(any_context: AppContext) -> AppContext:
    return any_context


@pytest.fixture
def both(context: AppContext) -> Iterator[list[httpx.Client]]:
    migrations.upgrade(context.db)
    home, database = context.settings.home, context.settings.resolved_database_url
    with ExitStack() as stack:
        yield [stack.enter_context(api(home, database)) for _ in range(2)]


def test_a_revoked_key_is_refused_and_follows_nothing_on_both(
    both: list[httpx.Client], context: AppContext
) -> None:
    job = add_job(context)
    (context.storage.job_logs(job)).mkdir(parents=True)
    (context.storage.job_logs(job) / "training_result.log").write_text("epoch 1\n")
    body = {"name": "x", "scopes": ["read"]}
    made = both[0].post("/api-keys", json=body, headers=FIRST).raise_for_status().json()
    headers = {"authorization": f"Bearer {made['key']}"}
    ended: dict[str, float] = {}

    def follow(client: httpx.Client, path: str, accept: str) -> None:
        with client.stream("GET", path, headers={**headers, "accept": accept}) as answer:
            started.release()
            for _ in answer.iter_raw():
                pass
        ended[f"{client.base_url}{path}"] = time.monotonic()

    def poll(client: httpx.Client) -> None:
        started.release()
        answer = client.get(f"/jobs/{job}?wait=60", headers=headers)
        assert_problem(answer, 401)
        ended[f"{client.base_url}poll"] = time.monotonic()

    started = threading.Semaphore(0)
    threads = [
        threading.Thread(target=follow, args=(client, path, accept))
        for client in both
        for path, accept in (
            (f"/jobs/{job}/events", "text/event-stream"),
            (f"/jobs/{job}/logs/training_result.log?follow=true", "text/plain"),
        )
    ] + [threading.Thread(target=poll, args=(client,)) for client in both]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert started.acquire(timeout=30)
    time.sleep(0.5)
    assert not ended

    revoked = time.monotonic()
    both[0].delete(f"/api-keys/{made['id']}", headers=FIRST).raise_for_status()
    for client in both:
        wait_for(
            lambda client=client: client.get("/networks", headers=headers).status_code == 401,  # type: ignore[misc]
            PATIENCE_SECONDS,
            "the revocation",
            every=0.05,
        )
    for thread in threads:
        thread.join(10)
    assert len(ended) == len(threads)
    assert max(ended.values()) - revoked < PATIENCE_SECONDS


def test_what_follows_looks_often_enough_for_the_promise() -> None:
    steps = (
        job_records.EVENT_POLL_SECONDS,
        job_records.LOG_POLL_SECONDS,
        waiting.STEP_SECONDS,
        changes.MISS_SECONDS,
    )
    assert changes.ROUND_SECONDS + max(steps) < PROMISED_SECONDS


def test_a_session_that_is_opened_on_one_is_used_and_ended_on_the_other(both: list[httpx.Client]) -> None:
    own = {"sec-fetch-site": "same-origin"}
    first, second = both
    answer = first.post("/session", json={"key": "s3cret"}, headers=own)
    cookie = {"cookie": f"loupe_session={answer.cookies['loupe_session']}", **own}
    wait_for(
        lambda: second.get("/docs", headers=cookie).status_code == 200,
        PATIENCE_SECONDS,
        "the session",
        every=0.05,
    )
    assert second.delete("/session", headers=cookie).status_code == 204
    assert second.get("/docs", headers=cookie).status_code == 401
    wait_for(
        lambda: first.get("/docs", headers=cookie).status_code == 401, PATIENCE_SECONDS, "its end", every=0.05
    )


def test_a_key_of_any_bytes_is_a_401_over_the_wire(both: list[httpx.Client]) -> None:
    url = both[0].base_url
    for key in (b"schl\xfcssel", "schlüssel".encode(), b"\xff\xfe", b"lp_\xe9_\xe9", b"\x80" * 1000):
        with socket.create_connection((url.host, url.port or 80), 10) as connection:
            head = b"GET /products HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer "
            connection.sendall(head + key + b"\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
