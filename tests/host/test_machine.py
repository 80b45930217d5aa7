"""What a machine has to compute with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.host import machine
from app.host.machine import Machine

ROOT = Path(__file__).parents[2]


def test_memory_is_the_containers_limit_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "MEMORY_LIMITS", (limit,))
    whole = Machine.of_this_process()
    limit.write_text("max\n")
    assert Machine.of_this_process() == whole
    limit.write_text("1000000\n")
    found = Machine.of_this_process().as_dict()
    assert found["memory_bytes"] == 1_000_000
    assert found["cpu_cores"] == machine.count_cores()


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [
        ("max 100000", None, 8),
        ("200000 100000", None, 2),
        ("150000 100000", None, 2),
        ("10000 100000", None, 1),
        ("nonsense", None, 8),
        ("-1", "100000", 8),
        ("300000", "100000", 3),
    ],
)
def test_cores_are_those_of_the_affinity_and_of_the_containers_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, period: str | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "quota").write_text(quota + "\n")
    if period is not None:
        (tmp_path / "period").write_text(period + "\n")
    monkeypatch.setattr(
        machine, "CPU_QUOTAS", ((tmp_path / "quota", period and tmp_path / "period"), (tmp_path / "no", None))
    )
    assert machine.count_cores() == cores


def test_nothing_counts_cores_but_this() -> None:
    """A process that takes a thread for each core of a large machine takes memory for each, too."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py")}
    own = {
        path.name for path, text in sources.items() if "cpu_count(" in text or "sched_getaffinity(" in text
    }
    assert own == {"machine.py", "device.py"}  # The latter tells a checkpoint what its numbers depend on.
