"""SIGKILL, SIGSTOP and SIGTERM to every part at every time: the job ends once, with the same weights."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from functools import partial
from typing import Any

import httpx2 as httpx
import psutil
import pytest
from sqlalchemy import func, select

from app.config import Settings
from app.db import Database
from app.job_queue import JobQueue
from app.models import JobStep
from tests.chaos.conftest import Chaos, Undisturbed, assert_ended_as, train_undisturbed
from tests.chaos.driver import END_SECONDS, TRAINING, Loupe, kill, more_workers, stopped, without_forks
from tests.waiting import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(7200)]

KILLS = 5
RUNNING_AGAIN_SECONDS = 75.0
VICTIMS = ("the child", "the worker", "the whole tree", "`loupe up` alone")


class Follower(threading.Thread):
    """Follows a job's events as a browser does: on a lost connection it asks for what came after the last."""

    def __init__(self, loupe: Loupe, job: str) -> None:
        super().__init__()
        self._loupe, self._job = loupe, job
        self.numbers: list[int] = []
        self.connections = 0
        self.start()

    def run(self) -> None:
        while True:
            headers = {"Accept": "text/event-stream"}
            if self.numbers:
                headers["Last-Event-ID"] = str(self.numbers[-1])
            with contextlib.suppress(httpx.TransportError), httpx.Client(timeout=20) as http:
                url = f"{self._loupe.service.url}/jobs/{self._job}/events"
                with http.stream("GET", url, headers=headers) as answer:
                    if answer.status_code == 200:
                        self.connections += 1
                        for line in answer.iter_lines():
                            if line.startswith("data: "):
                                event = json.loads(line.removeprefix("data: "))
                                self.numbers.append(event["number"])
                                if event["data"].get("status") in ("succeeded", "failed", "cancelled"):
                                    return
            time.sleep(0.2)


def test_killed_at_random_times_a_training_ends_with_the_same_weights(
    loupe: Loupe, undisturbed: Undisturbed, chaos: Chaos
) -> None:
    left = chaos.times(2, 100)
    victims = itertools.cycle(chaos.generator.sample(VICTIMS, len(VICTIMS)))
    while left > 0:
        job = loupe.submit()
        follower = Follower(loupe, job)
        attempt = 1
        for _ in range(min(KILLS, left)):
            loupe.wait_for_attempt(job, attempt)
            time.sleep(chaos.generator.uniform(0.0, 8.0))
            if loupe.job(job)["status"] != "running":
                break
            victim = next(victims)
            struck = time.monotonic()
            if not _strike(loupe, victim):
                continue
            left -= 1
            attempt += 1
            loupe.wait_for_attempt_or_end(job, attempt, RUNNING_AGAIN_SECONDS)
            seconds = time.monotonic() - struck
            assert seconds <= RUNNING_AGAIN_SECONDS
            chaos.saw(f"SIGKILL of {victim}", "same weights", seconds=seconds)
        assert_ended_as(undisturbed, loupe, job)
        follower.join(60)
        assert follower.numbers == [event["number"] for event in loupe.events(job)]
        chaos.saw("events followed over the kills", "every event once", seconds=None)


def _strike(loupe: Loupe, victim: str) -> bool:
    match victim:
        case "the child":
            return kill(loupe.child())
        case "the worker":
            return kill(loupe.worker())
        case "`loupe up` alone":
            loupe.http.close()
            loupe.service.process.kill()
            loupe.service.process.wait()
            loupe.start()
            return True
        case _:
            loupe.kill_everything()
            loupe.start()
            return True


def test_killed_at_every_named_point_a_training_ends_with_the_same_weights(
    loupe: Loupe, undisturbed: Undisturbed, chaos: Chaos
) -> None:
    for _ in range(chaos.times(1, 5)):
        known = {job["id"] for job in loupe.get("/jobs?limit=100")["data"]}
        loupe.arm("submit.committed", "kill")
        first = ["claim.committed", "checkpoint.writing", "checkpoint.written", "checkpoint.renamed"]
        first += ["report.before", "report.after"]
        for name in first:
            loupe.arm(name, "kill")
        # Not at an attempt's first checkpoint but at the next: what was saved since is found, and told again.
        loupe.arm("report.before", "skip", "skip", "kill")
        with contextlib.suppress(httpx.TransportError):
            body = {"product": "squares", "network": "tiny_cnn"}
            loupe.http.post("/jobs", json={**body, "hyperparameters": TRAINING})
        (job,) = {job["id"] for job in loupe.get("/jobs?limit=100")["data"]} - known
        wait_for(lambda: not loupe.unspent(), 300, "the first kills")
        deep = 5 if chaos.n else 2
        loupe.arm("resume.restored", *["kill"] * deep)
        wait_for(lambda: not loupe.unspent(), 300, "the kills in a row while resuming")
        last = ["export.writing", "finish.publishing", "finish.published", "finish.committed"]
        for name in last:
            loupe.arm(name, "kill")
        assert_ended_as(undisturbed, loupe, job)
        wait_for(lambda: not loupe.unspent(), 60, "the last kills")
        for name in ["submit.committed", *first, *last]:
            chaos.saw(f"SIGKILL at {name}", "same weights")
        chaos.saw(f"SIGKILL while resuming, {deep} in a row", "same weights")


def test_killed_in_each_phase_a_fine_tuning_ends_with_the_same_weights(loupe: Loupe, chaos: Chaos) -> None:
    """EfficientNet-Lite0 from its ImageNet weights: first the classifier alone, then all."""
    tries = chaos.times(0, 3)
    loupe.arm("train.step", "*sleep 0.0")
    settings = {"epochs": 4, "freeze_epochs": 2, "pretrained": "imagenet", "learning_rate": 0.003}
    expected = train_undisturbed(loupe, network="efficientnet_lite0", **settings)
    steps = len(expected.series[0])
    loupe.arm("train.step", "*sleep 0.04")
    for _ in range(tries):
        job = loupe.submit("efficientnet_lite0", **settings)
        phases = {
            "the classifier learns": steps // 4,
            "the frozen layers begin to learn": steps // 2,
            "all layers learn": 3 * steps // 4,
        }
        for attempt, (phase, step) in enumerate(phases.items(), start=2):
            loupe.wait_for_step(job, step + chaos.generator.randrange(-2, 3), 300)
            assert kill(loupe.child())
            loupe.wait_for_attempt(job, attempt)
            chaos.saw(f"SIGKILL while fine-tuning, where {phase}", "same weights")
        assert_ended_as(expected, loupe, job)


def test_told_to_end_it_loses_no_step(loupe: Loupe, undisturbed: Undisturbed, chaos: Chaos) -> None:
    left = chaos.times(1, 50)
    while left > 0:
        job = loupe.submit()
        first = chaos.generator.randrange(5, 95)
        # Every other pair of stops lies close together: what is seen must not be taken from the one before.
        second = first + 1 if left % 4 > 1 else chaos.generator.randrange(5, 95)
        for number, step in enumerate(sorted({first, second})[:left], start=1):
            loupe.wait_for_step(job, step)
            seconds = loupe.stop()
            assert seconds <= 30
            # Read while it is down: once it is up the training may have gone on already.
            reached = _last_step(loupe, job)
            loupe.start()
            resumes = wait_for(partial(_resumes, loupe, job, number), 75, f"resume {number}")
            assert len(resumes) == number
            assert resumes[-1]["step"] == reached
            left -= 1
            chaos.saw("SIGTERM", "no step lost", "same weights", seconds=seconds)
        assert_ended_as(undisturbed, loupe, job)


def _last_step(loupe: Loupe, job: str) -> int | None:
    database = Database(Settings(home=loupe.home, _env_file=None).resolved_database_url)
    with database.read() as session:
        step = session.scalar(select(func.max(JobStep.step)).where(JobStep.job_id == job))
    database.dispose()
    return step


def _resumes(loupe: Loupe, job: str, count: int) -> list[dict[str, Any]]:
    """What is told of the job's resumes, once there are so many."""
    found = [event["data"] for event in loupe.events(job, "resumed")]
    return found if len(found) >= count else []


def test_delivered_ten_times_to_several_workers_a_job_runs_once(
    loupe: Loupe, undisturbed: Undisturbed, chaos: Chaos
) -> None:
    left = chaos.times(1, 60)
    queue = JobQueue(Settings(home=loupe.home, _env_file=None))
    with more_workers(loupe, 3):
        while left > 0:
            jobs = [loupe.submit() for _ in range(min(2, left))]
            for job in jobs * 10:
                assert queue.enqueue(job, "training")
            wait_for(partial(_all_ended, loupe, jobs), END_SECONDS, "the end of the jobs")
            for job in jobs:
                assert assert_ended_as(undisturbed, loupe, job)["attempt"] == 1
                chaos.saw("the same id delivered 10 times to 4 workers", "one runner, one model")
            left -= len(jobs)
    queue.close()


def _all_ended(loupe: Loupe, jobs: list[str]) -> bool:
    """Asked all the time: until then no job may run twice at once."""
    assert all(_count_runners(job) <= 1 for job in jobs)
    return all(loupe.job(job)["status"] in ("succeeded", "failed") for job in jobs)


def _count_runners(job: str) -> int:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if "app.training" in command and any(job in part for part in command):
                found.append(process)
    return len(without_forks(found))


def test_a_worker_that_was_thought_dead_publishes_nothing(
    loupe: Loupe, undisturbed: Undisturbed, chaos: Chaos
) -> None:
    for _ in range(chaos.times(0, 10)):
        job = loupe.submit()
        loupe.wait_for_step(job, chaos.generator.randrange(1, 80))
        worker, child = loupe.worker(), loupe.child()
        with more_workers(loupe, 1):
            with stopped(worker, child):
                # Another worker finishes while these are frozen for three leases and more.
                frozen = time.monotonic()
                ended = loupe.end(job)
                assert ended["status"] == "succeeded"
                time.sleep(max(0.0, frozen + 18 - time.monotonic()))
            if child is not None:
                psutil.wait_procs([child], 30)
                assert not child.is_running()
            time.sleep(2)
            assert_ended_as(undisturbed, loupe, job)
        chaos.saw("SIGSTOP for three leases, then SIGCONT", "stale writer published nothing and ended")
