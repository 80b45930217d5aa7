"""How often each fault is tried, what was seen of it, and the table of both."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.driver import Loupe, remove
from tests.rotation import number_of_commit, turn
from tests.waiting import wait_for

LARGE = 50
"""The ``--chaos-n`` at which every fault is tried as often as its ``large`` says."""


COMMITS = 3
"""In so many commits every chaos test has its turn in continuous integration."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips those whose turn it is not, where that is asked for: all of them take a quarter of an hour."""
    if not config.getoption("--chaos-of-this-commit"):
        return
    cases = sorted(item.nodeid for item in items if item.get_closest_marker("chaos"))
    chosen = turn(cases, number_of_commit(Path(__file__).parent), COMMITS)
    for item in items:
        if item.get_closest_marker("chaos") and item.nodeid not in chosen:
            item.add_marker(pytest.mark.skip(reason="its turn is at another commit; `make chaos` runs all"))


@dataclass
class Chaos:
    """The counts of this run, and its findings by fault."""

    n: int
    generator: random.Random
    tries: Counter[str] = field(default_factory=Counter)
    seen: dict[str, Counter[str]] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)

    def times(self, small: int, large: int) -> int:
        """How often to try; skips the test when that is never."""
        count = small if self.n == 0 else max(1, round(large * self.n / LARGE))
        if count == 0:
            pytest.skip("left to `make chaos`")
        return count

    def saw(self, fault: str, *seen: str, seconds: float | None = None) -> None:
        """One try of ``fault`` went as it should."""
        self.tries[fault] += 1
        self.seen.setdefault(fault, Counter()).update(seen)
        if seconds is not None:
            self.slowest[fault] = max(self.slowest.get(fault, 0.0), seconds)


@dataclass(frozen=True)
class Undisturbed:
    """What the same training ends with when nothing happens to it."""

    job: str
    weights: str
    series: tuple[list[Any], list[Any]]
    log_lines: list[str]


@pytest.fixture(scope="session")
def chaos(request: pytest.FixtureRequest) -> Chaos:
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    found = Chaos(request.config.getoption("--chaos-n"), random.Random(seed))
    request.config.stash[FINDINGS] = (seed, found)
    return found


@pytest.fixture(scope="session")
def shared_loupe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loupe]:
    loupe = Loupe(tmp_path_factory.mktemp("chaos"))
    loupe.import_pictures()
    yield loupe
    loupe.stop()
    remove(loupe)


@pytest.fixture
def loupe(shared_loupe: Loupe) -> Iterator[Loupe]:
    """The service that the tests share, each step of its trainings slowed so that faults find it at work."""
    shared_loupe.arm("train.step", "*sleep 0.04")
    yield shared_loupe
    shared_loupe.disarm()


@pytest.fixture(scope="session")
def undisturbed(shared_loupe: Loupe) -> Undisturbed:
    return train_undisturbed(shared_loupe)


def train_undisturbed(loupe: Loupe, network: str = "tiny_cnn", **settings: Any) -> Undisturbed:
    job = loupe.submit(network, **settings)
    ended = loupe.end(job)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1), ended["error"]
    return Undisturbed(job, loupe.weights(job), loupe.series(job), loupe.log_lines(job))


def assert_ended_as(undisturbed: Undisturbed, loupe: Loupe, job: str) -> Any:
    """The job ended once and well, and nothing that a client can read tells it from an undisturbed one."""
    ended = loupe.end(job)
    assert ended["status"] == "succeeded", ended["error"]
    assert loupe.weights(job) == undisturbed.weights
    steps, epochs = loupe.series(job)
    assert steps == undisturbed.series[0]
    assert epochs == undisturbed.series[1]
    assert loupe.log_lines(job) == undisturbed.log_lines
    saved = -1
    must_resume = False
    for event in loupe.events(job):
        if event["data"].get("status") == "running":
            must_resume = saved >= 0
        if event["type"] in ("checkpoint", "epoch"):
            assert not must_resume, "an attempt goes on from what was saved and recorded"
        if event["type"] == "checkpoint":
            saved = event["data"]["step"]
        if event["type"] == "resumed":
            must_resume = False
            assert event["data"]["step"] >= saved, "what was saved and recorded is never trained again"
            assert event["data"]["exact"]
    assert len(list((loupe.home / "models" / ended["model"]).iterdir())) == 1
    wait_for(lambda: not _working_files(loupe, job), 60, "the working files to go")
    return ended


def _working_files(loupe: Loupe, job: str) -> list[Path]:
    folder = loupe.home / "jobs" / job
    return [*folder.glob("attempt-*"), *folder.glob("checkpoints")]


FINDINGS: pytest.StashKey[tuple[int, Chaos]] = pytest.StashKey()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    seed, chaos = config.stash.get(FINDINGS, (0, None))
    if chaos is None or not chaos.tries:
        return
    terminalreporter.section(f"chaos, seed {seed} (CHAOS_SEED)")
    lines = []
    for fault, count in chaos.tries.items():
        seen = ", ".join(chaos.seen[fault])
        if fault in chaos.slowest:
            seen += f"; at most {chaos.slowest[fault]:.1f} s"
        lines.append(f"| {fault} | {count} | {seen} |")
    terminalreporter.write_line("\n".join(["| fault | tries | what was seen |", "|---|---|---|", *lines]))
    if report := os.environ.get("CHAOS_REPORT"):
        Path(report).write_text(json.dumps({"seed": seed, "lines": lines}), encoding="utf-8")
