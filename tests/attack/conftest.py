"""What each attack was allowed to cost and what it did cost, and the table of both."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.chaos.driver import TRAINING
from tests.conftest import Service, start_service, stop_service
from tests.running import upload_pictures
from tests.waiting import wait_for


@dataclass
class Attacks:
    """The lines of the table."""

    lines: list[str] = field(default_factory=list)

    def held(self, attack: str, limit: str, measured: str) -> None:
        """An attack that was tried, what it may cost at most, and what it cost."""
        self.lines.append(f"| {attack} | {limit} | {measured} |")


@pytest.fixture(scope="session")
def attacks() -> Iterator[Attacks]:
    found = Attacks()
    yield found
    report = os.environ.get("ATTACK_REPORT")
    if report:
        path = Path(report)
        lines = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        path.write_text(json.dumps([*lines, *found.lines]), encoding="utf-8")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A whole service of its own with a champion of the product ``squares``."""
    home = tmp_path_factory.mktemp("victim") / "home"
    service = start_service(home, LOUPE_MAX_PIXELS="25000000")
    try:
        with service.client() as http:
            dataset = upload_pictures(http, "squares")["id"]
            asked = {"product": "squares", "dataset": dataset, "network": "tiny_cnn"}
            http.post("/jobs", json={**asked, "hyperparameters": TRAINING}).raise_for_status()
            wait_for(lambda: http.get("/products/squares/aliases").json(), 240, "a champion")
        yield service
    finally:
        stop_service(service)
        shutil.rmtree(home.parent, ignore_errors=True)


class Watch:
    """Looks at the API while it is attacked: its memory with that of its decoding processes, its probes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._api = next(
            each
            for each in psutil.Process(service.process.pid).children(recursive=True)
            if "app.launch.api" in each.cmdline()
        )
        self._stop = threading.Event()
        self.idle_bytes = self.bytes()
        self.most_bytes = self.idle_bytes
        self.slowest: dict[str, float] = {}
        self.failed: list[str] = []

    def bytes(self) -> int:
        """Memory of the API and its children, what they share counted once."""
        total = 0
        for process in [self._api, *self._api.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total

    @property
    def grown_mib(self) -> float:
        """The most that it took beyond what it took before, in MiB."""
        return (self.most_bytes - self.idle_bytes) / 2**20

    def __enter__(self) -> Watch:
        self._threads = [threading.Thread(target=each) for each in (self._weigh, self._probe)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _weigh(self) -> None:
        over = False
        while not over:  # once at least, however soon the attack is over
            over = self._stop.wait(0.05)
            self.most_bytes = max(self.most_bytes, self.bytes())

    def _probe(self) -> None:
        with self._service.client() as http:
            over = False
            while not over:
                over = self._stop.wait(0.1)
                for path in ("/healthz", "/readyz", "/products"):
                    began = time.monotonic()
                    if http.get(path).status_code != 200:
                        self.failed.append(path)
                    seconds = time.monotonic() - began
                    self.slowest[path] = max(self.slowest.get(path, 0.0), seconds)
