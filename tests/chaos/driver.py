"""What the chaos tests know of a Loupe: its HTTP API, its process table, and its failpoints."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil

from tests.conftest import Service, start_service, stop_service
from tests.pictures import make_files
from tests.running import upload_pictures
from tests.waiting import wait_for

# Small enough to train in seconds, long enough for a kill to land anywhere in it.
TRAINING = {
    "epochs": 8,
    "batch_size": 32,
    "image_size": 32,
    "augmentation": "light",
    "dropout": 0.3,
    "learning_rate": 0.01,
}
SETTINGS = {
    "LOUPE_LEASE_SECONDS": "6",
    "LOUPE_HEARTBEAT_SECONDS": "1",
    "LOUPE_CHECKPOINT_SECONDS": "1",
    "LOUPE_DISPATCH_SECONDS": "2",
}
PRODUCT = "squares"
END_SECONDS = 240.0
SPEEDS = ("seconds", "images_per_second")
TERMINAL = ("succeeded", "failed", "cancelled")


def without_forks(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Without those that another has just forked: until its exec a fork has its parent's command line."""
    parents: dict[int, int] = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            parents[process.pid] = process.ppid()
    return [each for each in processes if each.pid in parents and parents[each.pid] not in parents]


class Loupe:
    """A whole service that can be hurt: killed in parts or whole, started again, and asked over HTTP."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.failpoints = home.parent / f"{home.name}-failpoints"
        self.failpoints.mkdir(exist_ok=True)
        self.environment = {**SETTINGS, **environment, "LOUPE_FAILPOINTS": str(self.failpoints)}
        self.service: Service
        self.http: httpx.Client
        self.start()

    # --- The process table ---------------------------------------------------------------------------------

    def start(self) -> None:
        self.service = start_service(self.home, **self.environment)
        self.http = self.service.client()

    def stop(self) -> float:
        """Asks it to end; returns the seconds that took."""
        began = time.monotonic()
        self.http.close()
        assert stop_service(self.service) == 0
        return time.monotonic() - began

    def kill_everything(self) -> None:
        """SIGKILL to the whole tree at once, as by a loss of power."""
        self.http.close()
        root = psutil.Process(self.service.process.pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.service.process.wait()

    def processes(self, *words: str) -> list[psutil.Process]:
        """The tree's processes whose command line has all ``words``, oldest first."""
        found = []
        for process in psutil.Process(self.service.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = process.cmdline()
                if all(any(word == part or word in Path(part).name for part in command) for word in words):
                    found.append(process)
        return sorted(without_forks(found), key=lambda process: process.create_time())

    def worker(self, queue: str = "training") -> psutil.Process:
        return wait_for(lambda: self._only("app.workers", queue), 60, f"the {queue} worker")

    def api(self) -> psutil.Process:
        return wait_for(lambda: self._only("app.launch.api"), 60, "the API")

    def redis(self) -> psutil.Process:
        return wait_for(lambda: self._only("redis-server") or self._only("valkey-server"), 60, "Redis")

    def child(self) -> psutil.Process | None:
        """The training that runs, if one does."""
        return self._only("app.training")

    def _only(self, *words: str) -> psutil.Process | None:
        found = self.processes(*words)
        return found[-1] if found else None

    # --- Failpoints ----------------------------------------------------------------------------------------

    def arm(self, name: str, *actions: str) -> None:
        aside = self.failpoints / f".{name}"
        aside.write_text("".join(f"{action}\n" for action in actions))
        aside.rename(self.failpoints / name)

    def disarm(self) -> None:
        for path in self.failpoints.iterdir():
            path.unlink()

    def unspent(self) -> list[str]:
        """Failpoints that have been told to do something once and were not reached."""
        return [
            path.name
            for path in self.failpoints.iterdir()
            if any(not line.startswith("*") for line in path.read_text().splitlines())
        ]

    # --- The API -------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A request that is repeated while nothing listens or the database is away, as a client would."""

        def answer() -> httpx.Response | None:
            with contextlib.suppress(httpx.TransportError):
                answered = self.http.request(method, path, **more)
                return None if answered.status_code == 503 else answered
            return None

        return wait_for(answer, 90, f"an answer to {method} {path}", every=0.2)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def import_pictures(self, count: int = 171) -> None:
        """512 images in three classes, more or less."""
        dataset = upload_pictures(self.http, PRODUCT, make_files(count))["id"]
        wait_for(lambda: self.get(f"/datasets/{dataset}")["status"] == "ready", 120, "the import")

    def submit(self, network: str = "tiny_cnn", **settings: Any) -> str:
        body = {"product": PRODUCT, "network": network, "hyperparameters": {**TRAINING, **settings}}
        answer = self.ask("POST", "/jobs", json=body)
        assert answer.status_code == 201, answer.text
        job: str = answer.json()["id"]
        return job

    def job(self, job: str) -> Any:
        return self.get(f"/jobs/{job}")

    def wait_for_step(self, job: str, step: int, seconds: float = 120) -> None:
        def has_come() -> bool:
            found = self.job(job)
            assert found["status"] not in TERMINAL, (found["status"], found["error"], self.events(job))
            return bool((found["progress"]["step"] or 0) >= step and found["status"] == "running")

        wait_for(has_come, seconds, f"step {step} of {job}")

    def wait_for_attempt(self, job: str, attempt: int, seconds: float = 75) -> float:
        """Waits until the job runs again; returns the seconds that took."""
        began = time.monotonic()

        def runs() -> bool:
            found = self.job(job)
            return found["attempt"] >= attempt and found["status"] in ("running", *TERMINAL)

        wait_for(runs, seconds, f"attempt {attempt} of {job}")
        return time.monotonic() - began

    def wait_for_attempt_or_end(self, job: str, attempt: int, seconds: float) -> None:
        """Waits until the job runs again, or is found to have ended before it was hurt."""

        def has_come() -> bool:
            found = self.job(job)
            return found["status"] in TERMINAL or (
                found["status"] == "running" and found["attempt"] >= attempt
            )

        wait_for(has_come, seconds, f"attempt {attempt} of {job}")

    def end(self, job: str, seconds: float = END_SECONDS) -> Any:
        wait_for(lambda: self.job(job)["status"] in TERMINAL, seconds, f"the end of {job}")
        return self.job(job)

    def weights(self, job: str) -> str:
        models = self.get(f"/models?job={job}")["data"]
        assert len(models) == 1, models
        digest: str = models[0]["weights_sha256"]
        return digest

    def events(self, job: str, kind: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.get(f"/jobs/{job}/events?limit=100{after}")
            found += page["data"]
            if not page["has_more"]:
                assert [event["number"] for event in found] == list(range(1, len(found) + 1))
                return [event for event in found if kind in (None, event["type"])]
            after = f"&after={page['next_cursor']}"

    def series(self, job: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Steps and epochs, without what depends on the speed of the machine."""
        metrics = self.get(f"/jobs/{job}/metrics?max_points=100000")
        steps, epochs = (
            [tuple(v for name, v in sorted(row.items()) if name not in SPEEDS) for row in metrics[kind]]
            for kind in ("steps", "epochs")
        )
        return steps, epochs

    def log_lines(self, job: str) -> list[str]:
        text = self.ask("GET", f"/jobs/{job}/logs/training_result_step.log").text
        return [line.partition(", loss")[0] for line in text.splitlines()]

    def predict(self) -> httpx.Response:
        picture = next(iter(make_files(1).values()))
        return self.http.post(
            f"/predict?product={PRODUCT}", content=picture, headers={"content-type": "image/png"}
        )


def kill(process: psutil.Process | None) -> bool:
    """SIGKILL, if there is such a process (still)."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if process is not None:
            process.kill()
            return True
    return False


@contextlib.contextmanager
def stopped(*processes: psutil.Process | None) -> Iterator[None]:
    """The processes are frozen during the block."""
    held = [process for process in processes if process is not None]
    for process in held:
        process.suspend()
    try:
        yield
    finally:
        for process in held:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def remove(loupe: Loupe) -> None:
    shutil.rmtree(loupe.home, ignore_errors=True)
    shutil.rmtree(loupe.failpoints, ignore_errors=True)


@contextlib.contextmanager
def more_workers(loupe: Loupe, count: int) -> Iterator[list[psutil.Process]]:
    """Further processes for trainings, beside the one of ``loupe up``."""
    environment = {**os.environ, **loupe.environment, "LOUPE_HOME": str(loupe.home)}
    with (loupe.home / "logs" / "more-workers.log").open("ab") as log:
        command = [sys.executable, "-m", "app.workers", "--queue", "training"]
        workers = [
            psutil.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            for _ in range(count)
        ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.send_signal(15)
        for worker in workers:
            worker.wait(40)
