"""What a machine has to compute with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.host import machine
from app.host.machine import Machine


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
    assert found["cpu_cores"] == len(os.sched_getaffinity(0))
