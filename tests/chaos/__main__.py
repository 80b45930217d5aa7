"""All faults many times, two groups of them at a time, and one table: ``python -m tests.chaos --n 50``.

Each group starts a Loupe of its own. A try mostly waits for TensorFlow to load, so two fit on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

KILLS = "tests/chaos/test_kills.py"
HISTORIES = "tests/jobs/test_claims_machine.py"
# The longest first, so that no core idles at the end.
GROUPS = {
    "kills": [f"{KILLS}::test_killed_at_random_times_a_training_ends_with_the_same_weights"],
    "points": [f"{KILLS}::test_killed_at_every_named_point_a_training_ends_with_the_same_weights"],
    "servers": ["tests/chaos/test_servers.py"],
    "workers": [
        f"{KILLS}::test_killed_in_each_phase_a_fine_tuning_ends_with_the_same_weights",
        f"{KILLS}::test_told_to_end_it_loses_no_step",
        f"{KILLS}::test_delivered_ten_times_to_several_workers_a_job_runs_once",
        f"{KILLS}::test_a_worker_that_was_thought_dead_publishes_nothing",
    ],
    "failures": ["tests/chaos/test_failures.py"],
    "power": ["tests/chaos/test_power.py"],
    "histories": [HISTORIES],
}
HISTORIES_SEEN = (
    "| model-based: any order of submit, claim, beat, expire, kill, cancel, pause, retry, flush "
    "| {count} histories | none lost, one live fence, ends final, one model a job |"
)


@dataclass(frozen=True)
class Outcome:
    """How one group ended, and its lines of the table."""

    code: int
    lines: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--n", type=int, default=5, help="how often; 50 takes an hour and more (default: 5)")
    parser.add_argument("--at-a-time", type=int, default=2, help="groups that run beside each other")
    parser.add_argument("--only", choices=GROUPS, nargs="+", default=list(GROUPS), help="some of the groups")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.at_a_time) as pool:
        outcomes = list(pool.map(lambda group: _run(group, arguments.n, Path(folder)), arguments.only))
    print("\n| fault | tries | what was seen |\n|---|---|---|")
    print("\n".join(line for outcome in outcomes for line in outcome.lines))
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"\nN={arguments.n}, {arguments.at_a_time} groups at a time: {minutes} min {seconds} s")
    return max(outcome.code for outcome in outcomes)


def _run(group: str, n: int, folder: Path) -> Outcome:
    report, began = folder / f"{group}.json", time.monotonic()
    command = [sys.executable, "-m", "pytest", "-v", "-m", "chaos or slow", "--chaos-n", str(n)]
    process = subprocess.Popen(
        [*command, "--timeout", "5400", "-p", "no:cacheprovider", *GROUPS[group]],
        env={**os.environ, "CHAOS_REPORT": str(report), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        _say(group, line.rstrip())
    code = process.wait()
    _say(group, f"ended with {code} after {time.monotonic() - began:.0f} s")
    lines = json.loads(report.read_text(encoding="utf-8"))["lines"] if report.exists() else []
    if group == "histories" and code == 0:
        lines.append(HISTORIES_SEEN.format(count=10 * n))
    return Outcome(code, lines)


_PRINTING = threading.Lock()


def _say(group: str, line: str) -> None:
    with _PRINTING:
        print(f"{group:9} | {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
