"""Hours of ordinary work, and what each process took when they began and ended: ``python -m tests.soak``."""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
from rich.console import Console
from rich.table import Table

from tests.conftest import Service, start_service, stop_service
from tests.pictures import make_files, make_picture, make_zip
from tests.waiting import wait_for

SAMPLE_SECONDS = 10.0
WARM = 0.15
"""The part of the run at its beginning that is left out: caches fill, code is loaded."""
MOST_MIB_AN_HOUR = 1.0
TRAINING = {"epochs": 1, "image_size": 16, "batch_size": 32, "augmentation": "none"}
ROLES = {
    "app.launch.api": "API",
    "training": "worker, trainings",
    "tasks": "worker, other jobs",
    "redis-server": "Redis",
    "app.cli": "loupe up",
}


@dataclass(frozen=True)
class Sample:
    """One process at one time."""

    seconds: float
    mib: float
    files: int
    threads: int


class Soak:
    """A service under work, watched."""

    def __init__(self, service: Service, seconds: float) -> None:
        self._service = service
        self._ends = time.monotonic() + seconds
        self._began = time.monotonic()
        self.done: Counter[str] = Counter()
        self.unexpected: Counter[str] = Counter()
        self.samples: dict[str, list[Sample]] = defaultdict(list)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._ends

    def run(self) -> None:
        with self._service.client() as http:
            self._train(http, "standing")
        work: list[Callable[[httpx.Client, random.Random], None]] = [
            self._predict,
            self._predict,
            self._look,
            self._change,
        ]
        threads = [threading.Thread(target=self._repeat, args=(each, seed)) for seed, each in enumerate(work)]
        for thread in threads:
            thread.start()
        while not self.is_over:
            self._sample()
            time.sleep(SAMPLE_SECONDS)
        for thread in threads:
            thread.join()

    def _repeat(self, work: Callable[[httpx.Client, random.Random], None], seed: int) -> None:
        draw = random.Random(seed)
        while not self.is_over:
            with contextlib.suppress(httpx.TransportError), self._service.client() as http:
                for _ in range(200):
                    if self.is_over:
                        return
                    work(http, draw)

    def _ask(self, http: httpx.Client, expected: set[int], method: str, path: str, **more: Any) -> Any:
        answer = http.request(method, path, **more)
        self.done[method + " " + path.split("?")[0].split("/")[1]] += 1
        if answer.status_code not in expected:
            self.unexpected[f"{method} {path}: {answer.status_code} {answer.text[:200]}"] += 1
        return answer

    def _predict(self, http: httpx.Client, draw: random.Random) -> None:
        image = make_picture(
            draw.choice(("red", "green", "blue")), draw.randrange(10**6), size=draw.choice((24, 200, 900))
        )
        broken = draw.random() < 0.1
        data = image[: draw.randrange(len(image))] if broken else image
        expected = {413, 415, 422} if broken else {200}
        self._ask(http, expected, "POST", "/predict?product=standing", files={"file": ("a.png", data)})
        time.sleep(0.02)

    def _look(self, http: httpx.Client, draw: random.Random) -> None:
        path = draw.choice(
            ("/jobs", "/products", "/models", "/metrics", "/readyz", "/workers", "/networks", "/nothing")
        )
        self._ask(http, {404} if path == "/nothing" else {200}, "GET", path)
        jobs = http.get("/jobs?limit=1").json()["data"]
        if jobs:
            job = jobs[0]["id"]
            for part in ("", "/metrics", "/events", "/logs"):
                self._ask(http, {200, 404}, "GET", f"/jobs/{job}{part}")
        time.sleep(0.1)

    def _change(self, http: httpx.Client, draw: random.Random) -> None:
        product = f"p{draw.randrange(10**9)}"
        self._train(http, product)
        self._ask(http, {204}, "DELETE", f"/products/{product}?force=true")

    def _train(self, http: httpx.Client, product: str) -> None:
        self._ask(http, {201}, "POST", "/products", json={"id": product})
        archive = make_zip(make_files())
        answer = self._ask(
            http, {202}, "POST", f"/products/{product}/datasets", files={"file": ("a.zip", archive)}
        )
        asked = {"product": product, "dataset": answer.json()["id"], "network": "tiny_cnn"}
        job = self._ask(http, {201}, "POST", "/jobs", json={**asked, "hyperparameters": TRAINING}).json()[
            "id"
        ]

        def has_ended() -> bool:
            status: str = http.get(f"/jobs/{job}?wait=20").json()["status"]
            return status in ("succeeded", "failed", "cancelled")

        wait_for(has_ended, 600, "the training")

    def _sample(self) -> None:
        root = psutil.Process(self._service.process.pid)
        seconds = time.monotonic() - self._began
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                command = [process.name(), *process.cmdline()]
                role = next(
                    (
                        name
                        for word, name in ROLES.items()
                        if any(word in (part, Path(part).name) for part in command)
                    ),
                    None,
                )
                if role is not None:
                    memory = process.memory_full_info().uss / 2**20
                    self.samples[role].append(
                        Sample(seconds, memory, process.num_fds(), process.num_threads())
                    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=8.0, help="how long (default: 8)")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="loupe-soak-"))
    service = start_service(folder / "home", LOUPE_LOG_LEVEL="WARNING")
    soak = Soak(service, arguments.hours * 3600)
    try:
        soak.run()
    finally:
        stop_service(service)
        shutil.rmtree(folder, ignore_errors=True)
    return _report(soak, arguments.hours)


def _report(soak: Soak, hours: float) -> int:
    table = Table("process", "first third, MiB", "last third, MiB", "grows, MiB/h", "files", "threads")
    growth = {}
    for role, samples in soak.samples.items():
        warm = [sample for sample in samples if sample.seconds > WARM * hours * 3600]
        third = max(1, len(warm) // 3)
        first, last = warm[:third], warm[-third:]
        growth[role] = _slope(warm)
        table.add_row(
            role,
            *(f"{statistics.mean(sample.mib for sample in part):.1f}" for part in (first, last)),
            f"{growth[role]:+.2f}",
            *(
                f"{max(getattr(s, name) for s in first)} → {max(getattr(s, name) for s in last)}"
                for name in ("files", "threads")
            ),
        )
    console = Console(width=110)
    console.print(table)
    console.print(f"{sum(soak.done.values()):,} requests in {hours:g} h: {dict(soak.done)}")
    for what, times in soak.unexpected.most_common(20):
        console.print(f"unexpected, {times} times: {what}")
    grew = growth.get("API", 0.0) > MOST_MIB_AN_HOUR
    if grew:
        console.print(f"The API grew by more than {MOST_MIB_AN_HOUR:g} MiB an hour.")
    return int(grew or bool(soak.unexpected))


def _slope(samples: list[Sample]) -> float:
    """MiB an hour, by least squares."""
    if len(samples) < 3:
        return 0.0
    line = statistics.linear_regression([s.seconds / 3600 for s in samples], [s.mib for s in samples])
    return line.slope


if __name__ == "__main__":
    sys.exit(main())
