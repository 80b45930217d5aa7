"""Redis and PostgreSQL killed, frozen, flushed and restarted under a Loupe that trains and predicts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import httpx2 as httpx
import psutil
import pytest

from tests import postgres_server
from tests.chaos.conftest import Chaos, Undisturbed, assert_ended_as
from tests.chaos.driver import PRODUCT, Loupe, more_workers, remove, stopped
from tests.chaos.servers import PostgresServer, RedisServer
from tests.pictures import make_files
from tests.waiting import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.postgres, pytest.mark.timeout(7200)]

START_SECONDS = 60.0


@dataclass
class Stack:
    """A Loupe on a PostgreSQL and a Redis that the test holds in its hands."""

    loupe: Loupe
    redis: RedisServer
    postgres: PostgresServer


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    programs = postgres_server.find_programs()
    if programs is None:
        assert not request.config.getoption("--require-postgres")
        pytest.skip("PostgreSQL is not installed")
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    with postgres_server.server_folder() as folder:
        postgres = PostgresServer(programs, folder)
        home = tmp_path_factory.mktemp("servers")
        loupe = Loupe(home, LOUPE_DATABASE_URL=postgres.url, LOUPE_REDIS_URL=redis.url)
        loupe.import_pictures()
        yield Stack(loupe, redis, postgres)
        loupe.stop()
        remove(loupe)
        postgres.stop("immediate")
    redis.kill()


@pytest.fixture(autouse=True)
def _slow_steps(stack: Stack) -> Iterator[None]:
    """Every step waits, so that a fault finds the training at work."""
    stack.loupe.arm("train.step", "*sleep 0.15")
    yield
    stack.loupe.disarm()


@pytest.fixture(scope="module")
def champion(stack: Stack, undisturbed: Undisturbed) -> str:
    """A model that is served, trained on these servers; its weights are those of SQLite's."""
    stack.loupe.arm("train.step", "*sleep 0.0")
    job = stack.loupe.submit()
    assert stack.loupe.end(job)["status"] == "succeeded"
    assert stack.loupe.weights(job) == undisturbed.weights
    assert stack.loupe.predict().status_code == 200
    return job


@dataclass
class Client(threading.Thread):
    """Somebody who predicts all the time: what was answered, and how long the slowest took."""

    url: str
    answers: list[int] = field(default_factory=list)
    slowest: float = 0.0

    def __post_init__(self) -> None:
        super().__init__()
        self._ended = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        picture = next(iter(make_files(1).values()))
        with httpx.Client(base_url=self.url, timeout=30) as http:
            while not self._ended.wait(0.1):
                began = time.monotonic()
                path = f"/predict?product={PRODUCT}"
                answer = http.post(path, content=picture, headers={"content-type": "image/png"})
                self.answers.append(answer.status_code)
                self.slowest = max(self.slowest, time.monotonic() - began)

    def __enter__(self) -> Client:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def _is_cancelled(loupe: Loupe, job: str) -> bool:
    return bool(loupe.job(job)["status"] == "cancelled")


@pytest.mark.usefixtures("champion")
def test_redis_may_come_and_go_while_jobs_run_and_are_submitted(
    stack: Stack, undisturbed: Undisturbed, chaos: Chaos
) -> None:
    loupe = stack.loupe
    loupe.arm("train.step", "*sleep 2")  # it must outlast all faults, a freeze of 60 s among them
    faults: list[Callable[[Stack, psutil.Process, Chaos], Started]]
    faults = [_flush_redis, _kill_redis, _freeze_redis, _take_redis_away]
    for _ in range(chaos.times(1, 20)):
        running = loupe.submit()
        loupe.wait_for_step(running, 1)
        # A second worker, idle, so that a waiting job shows how soon it starts while the first goes on.
        with Client(loupe.service.url) as client, more_workers(loupe, 1) as (idle,):
            for fault in chaos.generator.sample(faults, len(faults)):
                started = fault(stack, idle, chaos)
                seconds = loupe.wait_for_attempt(started.job, 1, START_SECONDS)
                now = loupe.job(running)
                assert (now["status"], now["attempt"]) == ("running", 1), "the fault found it at work"
                loupe.ask("POST", f"/jobs/{started.job}/cancel")
                wait_for(partial(_is_cancelled, loupe, started.job), 30, "the cancel")
                seen = "running job unaffected, predict went on, the waiting one started"
                chaos.saw(f"Redis {started.fault}", started.seen, seen, seconds=seconds)
            loupe.arm("train.step", "*sleep 0.0")
            assert assert_ended_as(undisturbed, loupe, running)["attempt"] == 1
            loupe.arm("train.step", "*sleep 2")
        assert set(client.answers) == {200}
        assert client.slowest < 5


@dataclass(frozen=True)
class Started:
    """A job that was submitted around a fault of Redis, which is back now."""

    fault: str
    job: str
    seen: str = "submit 201"


def _flush_redis(stack: Stack, idle: psutil.Process, _: Chaos) -> Started:
    with stopped(idle):
        job = _submit_at_once(stack.loupe)
        wait_for(lambda: stack.redis.count_messages("training") > 0, 10, "the message")
        stack.redis.flush()
        assert stack.redis.count_messages("training") == 0
    return Started("flushed while a message waits", job)


def _kill_redis(stack: Stack, idle: psutil.Process, _: Chaos) -> Started:
    with stopped(idle):
        job = _submit_at_once(stack.loupe)
        wait_for(lambda: stack.redis.count_messages("training") > 0, 10, "the message")
        stack.redis.kill()
        stack.redis.start()
    return Started("killed with a message in it, and restarted empty", job)


def _freeze_redis(stack: Stack, idle: psutil.Process, chaos: Chaos) -> Started:
    before = sum(count for fault, count in chaos.tries.items() if fault.startswith("Redis frozen"))
    seconds = 60 if chaos.n and before % 10 == 0 else 8
    stack.redis.freeze()
    with stopped(idle):  # or it takes the job from the database before Redis is back
        job = _submit_at_once(stack.loupe)
        time.sleep(seconds)
        stack.redis.thaw()
    return Started(f"frozen for {seconds} s", job)


def _take_redis_away(stack: Stack, _: psutil.Process, chaos: Chaos) -> Started:
    """Many jobs are submitted while it is away; it stays away until one has started without it."""
    loupe, submits = stack.loupe, 10 * max(1, chaos.n)
    stack.redis.kill()
    first, *others = [_submit_at_once(loupe) for _ in range(submits)]
    for job in others:
        assert loupe.ask("POST", f"/jobs/{job}/cancel").status_code == 202
    seconds = loupe.wait_for_attempt(first, 1, START_SECONDS)
    chaos.saw("Redis absent, a job is submitted", "started without Redis", seconds=seconds)
    stack.redis.start()
    return Started("absent while jobs are submitted", first, f"{submits} of {submits} submits 201")


def _submit_at_once(loupe: Loupe) -> str:
    began = time.monotonic()
    job = loupe.submit()
    assert time.monotonic() - began < 5
    return job


@pytest.mark.usefixtures("champion")
def test_postgresql_may_restart_and_lose_connections_while_jobs_run(
    stack: Stack, undisturbed: Undisturbed, chaos: Chaos
) -> None:
    loupe, postgres = stack.loupe, stack.postgres
    for _ in range(chaos.times(1, 10)):
        job = loupe.submit()
        loupe.wait_for_step(job, 3)
        with Client(loupe.service.url) as client:
            postgres.stop()
            for _ in range(5):
                began = time.monotonic()
                answer = loupe.http.get(f"/jobs/{job}")
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) >= 1
                assert time.monotonic() - began <= 2
                time.sleep(0.5)
            outage = 2 * float(loupe.environment["LOUPE_LEASE_SECONDS"])
            time.sleep(outage)
            postgres.start()
            for _ in range(3 if chaos.n == 0 else 6):
                postgres.end_connections()
                time.sleep(2)
            ended = assert_ended_as(undisturbed, loupe, job)
        assert ended["attempt"] == 1, "the living worker kept its job over an outage longer than its lease"
        assert set(client.answers) == {200}
        chaos.saw("PostgreSQL away for two leases", "503 + Retry-After in 2 s, predict and training went on")
        chaos.saw("PostgreSQL's connections killed", "training went on, nothing reclaimed, same weights")
