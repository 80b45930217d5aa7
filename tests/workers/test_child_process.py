"""A child's process is started, signalled, measured and ended, and its end is explained."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.child import PROGRESS, ExitCode
from app.errors import CrashedError, InvalidRequestError, OutOfMemoryError, StorageFullError
from app.workers import child_process, exit_cause
from app.workers.child_process import ChildProcess
from app.workers.progress_file import ProgressFile
from tests.waiting import wait_for
from tests.workers.small_child import SmallResult, SmallSpec


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the kernel counts what it has killed for memory."""
    counter = tmp_path / "memory.events"
    counter.write_text("oom 7\noom_kill 3\n")
    monkeypatch.setattr(exit_cause, "OOM_COUNTERS", (tmp_path / "missing", counter))
    return counter


@pytest.fixture
def child(tmp_path: Path, counter: Path) -> Iterator[ChildProcess]:  # noqa: ARG001
    child = ChildProcess(tmp_path / "attempt")
    yield child
    child.kill()


def start(child: ChildProcess, tmp_path: Path, *acts: str, **environment: str) -> int:
    return child.start("tests.workers.small_child", SmallSpec(acts=acts), tmp_path / "log", environment)


def said(tmp_path: Path) -> list[str]:
    lines = ProgressFile(tmp_path / "attempt" / PROGRESS).read()
    return [line.message for line in lines if line.kind == "warning"]


def run(child: ChildProcess, tmp_path: Path, *acts: str) -> int:
    """Runs a child to its end; returns its exit code."""
    start(child, tmp_path, *acts)
    wait_for(lambda: not child.is_running, 20, "the end")
    return child.exit_code


def test_one_that_succeeds_leaves_its_result(child: ChildProcess, tmp_path: Path) -> None:
    assert not child.is_running
    assert run(child, tmp_path, "say hello") == ExitCode.SUCCEEDED
    assert child.read_result(SmallResult) == SmallResult(finishes=0)
    assert child.read_error() is None
    assert said(tmp_path) == ["hello"]


def test_a_result_in_another_form_is_refused_by_name(child: ChildProcess, tmp_path: Path) -> None:
    assert run(child, tmp_path, "scribble") == ExitCode.SUCCEEDED
    with pytest.raises(InvalidRequestError, match=r"result\.json is not valid at finishes"):
        child.read_result(SmallResult)


def test_one_that_fails_leaves_the_reason_and_a_log(child: ChildProcess, tmp_path: Path) -> None:
    assert run(child, tmp_path, "fail") == ExitCode.FAILED
    error = child.read_error()
    assert error is not None
    assert (error["code"], error["hint"]) == ("training_failed", "Mix in some yellow.")
    assert "The loss is purple." in (tmp_path / "log").read_text()


def test_what_was_not_foreseen_is_a_crash_with_its_reason(child: ChildProcess, tmp_path: Path) -> None:
    assert run(child, tmp_path, "raise") == ExitCode.FAILED
    error = child.read_error()
    assert error is not None
    assert (error["code"], error["detail"]) == ("crashed", "RuntimeError: odd")


def test_an_exit_without_a_reason_is_named_by_its_code(child: ChildProcess, tmp_path: Path) -> None:
    assert run(child, tmp_path, "exit 3") == 3
    error = child.explain_exit("jobs/1/log")
    assert isinstance(error, CrashedError)
    assert error.detail == "The process ended with exit code 3."
    assert error.hint == "See jobs/1/log."
    assert not child.was_killed_from_outside


def test_an_exit_on_a_full_disk_that_could_not_be_written_down_is_named(
    child: ChildProcess, tmp_path: Path
) -> None:
    assert run(child, tmp_path, f"exit {ExitCode.DISK_FULL}") == ExitCode.DISK_FULL
    assert isinstance(child.explain_exit("log"), StorageFullError)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGSEGV, "SIGSEGV"),
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGRTMIN + 3, f"signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_a_signal_is_named(child: ChildProcess, tmp_path: Path, number: int, name: str) -> None:
    assert run(child, tmp_path, f"signal {int(number)}") == -number
    error = child.explain_exit("log")
    assert isinstance(error, CrashedError)
    assert error.detail.startswith(f"The process was ended by {name};")
    assert child.was_killed_from_outside is (number == signal.SIGKILL)


def test_a_kill_is_lack_of_memory_if_the_kernel_has_counted_one_since_the_start(
    child: ChildProcess, counter: Path, tmp_path: Path
) -> None:
    run(child, tmp_path, f"signal {signal.SIGKILL}")
    counter.write_text("oom 8\noom_kill 4\n")
    assert isinstance(child.explain_exit("log"), OutOfMemoryError)
    assert not child.was_killed_from_outside


def test_a_kill_is_lack_of_memory_if_the_process_had_taken_nearly_all(
    child: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = start(child, tmp_path, "say hello", "hang")
    wait_for(lambda: said(tmp_path), 20, "the child")
    child.sample_memory()
    taken = psutil.Process(pid).memory_info().rss
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not child.is_running, 20, "the end")
    assert child.was_killed_from_outside
    nearly_all = psutil.virtual_memory()._replace(total=int(taken * 1.1))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: nearly_all)
    error = child.explain_exit("log")
    assert isinstance(error, OutOfMemoryError)
    used = re.search(r"used (\d+) MiB", error.detail)
    assert used is not None
    assert abs(int(used[1]) - taken / 2**20) <= 2, "it may have grown a little between the looks"


def test_another_signal_is_no_lack_of_memory_whatever_the_kernel_has_counted(
    child: ChildProcess, counter: Path, tmp_path: Path
) -> None:
    run(child, tmp_path, f"signal {int(signal.SIGSEGV)}")
    counter.write_text("oom_kill 4\n")
    assert isinstance(child.explain_exit("log"), CrashedError)


def test_asked_to_leave_twice_it_gets_one_signal_and_has_its_time(
    child: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(child, tmp_path, "say hello", "leave")
    wait_for(lambda: said(tmp_path), 20, "the child")
    assert not child.was_asked_to_leave
    child.ask_to_leave()
    monkeypatch.setattr(child_process, "RELEASE_SECONDS", -1.0)
    child.ask_to_leave()
    assert child.was_asked_to_leave
    assert not child.is_late, "asking again does not move the deadline"
    wait_for(lambda: not child.is_running, 20, "the end")
    assert child.exit_code == ExitCode.RELEASED
    assert said(tmp_path) == ["hello", "asked-1"]


def test_one_that_had_ended_before_was_not_asked_to_leave(
    child: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(child, tmp_path, "exit 3")
    monkeypatch.setattr(child_process, "RELEASE_SECONDS", -1.0)
    child.ask_to_leave()
    assert not child.was_asked_to_leave
    assert child.is_late, "the worker itself still has to end"


def test_past_its_time_a_deaf_one_is_late_and_killed_with_all_that_it_started(
    child: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "RELEASE_SECONDS", 0.2)
    start(child, tmp_path, "start", "hang")
    wait_for(lambda: said(tmp_path), 20, "the child")
    (started,) = map(int, said(tmp_path))
    child.ask_to_leave()
    assert not child.is_late
    wait_for(lambda: child.is_late, 20, "the deadline")
    assert child.is_running
    child.kill()
    assert child.exit_code == -signal.SIGKILL
    wait_for(lambda: has_ended(started), 20, "the end of what it started")
    child.kill()


def test_asked_to_finish_early_twice_it_gets_one_signal(child: ChildProcess, tmp_path: Path) -> None:
    start(child, tmp_path, "say hello", "finish")
    wait_for(lambda: said(tmp_path), 20, "the child")
    for _ in range(3):
        child.finish_early()
    wait_for(lambda: not child.is_running, 20, "the end")
    assert child.read_result(SmallResult) == SmallResult(finishes=1)


def test_asked_to_finish_before_it_listens_it_lives_and_is_asked_later(
    child: ChildProcess, tmp_path: Path
) -> None:
    start(child, tmp_path, "say hello", "finish")
    child.finish_early()
    wait_for(lambda: said(tmp_path) or not child.is_running, 20, "the child")
    child.finish_early()
    wait_for(lambda: not child.is_running, 20, "the end")
    assert child.exit_code == ExitCode.SUCCEEDED


def test_its_environment_is_ours_and_more(child: ChildProcess, tmp_path: Path) -> None:
    pid = start(child, tmp_path, "say hello", "hang", LOUPE_LOG_LEVEL="DEBUG")
    wait_for(lambda: said(tmp_path), 20, "the child, which has our own environment until its program runs")
    environment = psutil.Process(pid).environ()
    assert environment["LOUPE_LOG_LEVEL"] == "DEBUG"
    assert environment["PATH"] == os.environ["PATH"]


def has_ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_child_keeps_the_bytecode_of_its_imports_whatever_the_container_says(
    child: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("SOMETHING_ELSE", "is-kept")
    run(child, tmp_path, "environment PYTHONDONTWRITEBYTECODE", "environment SOMETHING_ELSE")
    assert said(tmp_path) == ["not there", "is-kept"]
