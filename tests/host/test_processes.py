"""Whether the process that holds a lease is certain to have ended."""

from __future__ import annotations

import os
import subprocess

from app.host import processes
from app.host.processes import is_gone, process_owner
from tests.waiting import wait_for


def owner_of(pid: int) -> str:
    machine = process_owner().partition("|pid|")[0]
    return f"{machine}|pid|{pid}|{processes._started(pid)}"


def test_a_process_that_lives_is_not_gone() -> None:
    assert not is_gone(process_owner())
    assert not is_gone(f"{process_owner()}|reaper")


def test_a_process_that_has_ended_is_gone_also_before_its_parent_has_noticed() -> None:
    process = subprocess.Popen(["sleep", "60"])
    owner = owner_of(process.pid)
    assert not is_gone(owner)
    process.kill()
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    wait_for(lambda: os.waitid(os.P_PID, process.pid, ended), 60, "the end of the process", every=0.01)
    assert is_gone(owner), "a zombie"
    process.wait()
    assert is_gone(owner)


def test_another_process_under_the_same_number_is_not_taken_for_it() -> None:
    machine = process_owner().partition("|pid|")[0]
    assert is_gone(f"{machine}|pid|{os.getpid()}|1")


def test_of_other_machines_and_boots_nothing_is_certain() -> None:
    host, _, rest = process_owner().partition("|")
    dead = rest.replace(f"|pid|{os.getpid()}|", "|pid|999999999|")
    assert is_gone(f"{host}|{dead}")
    assert not is_gone(f"elsewhere|{dead}")
    assert not is_gone("")
    assert not is_gone("nonsense")
