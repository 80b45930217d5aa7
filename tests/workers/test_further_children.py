"""Children that a job needs after its own: their answers, their failures, their end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.jobs.kinds.base import ChildFailedError
from app.workers.further_children import ClosedError, FurtherChildren
from tests.waiting import wait_for
from tests.workers.small_child import SmallResult, SmallSpec

MODULE = "tests.workers.small_child"


@pytest.fixture
def children(tmp_path: Path) -> Iterator[FurtherChildren]:
    children = FurtherChildren(tmp_path, tmp_path / "process.log", {}, stall_seconds=30)
    yield children
    children.close()


def started(folder: Path) -> list[psutil.Process]:
    """Those that work in a folder below."""
    return [
        process
        for process in psutil.Process().children()
        if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in process.cmdline())
    ]


def test_its_answer_comes_back(children: FurtherChildren) -> None:
    assert children.run(MODULE, SmallSpec(acts=()), SmallResult) == SmallResult(finishes=0)


def test_a_reason_is_passed_on_at_once(children: FurtherChildren, tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match="The loss is purple"):
        children.run(MODULE, SmallSpec(acts=("fail",)), SmallResult)
    assert not (tmp_path / "further-2").exists()


def test_one_that_always_ends_without_a_reason_is_given_up(children: FurtherChildren, tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match=r"It was tried 3 times\. The process ended with exit code 9"):
        children.run(MODULE, SmallSpec(acts=("exit 9",)), SmallResult)
    assert not (tmp_path / "further-4").exists()


def test_one_that_is_killed_is_started_again(children: FurtherChildren, tmp_path: Path) -> None:
    answers: list[SmallResult] = []
    spec = SmallSpec(acts=("sleep 1",))
    thread = threading.Thread(target=lambda: answers.append(children.run(MODULE, spec, SmallResult)))
    thread.start()
    wait_for(lambda: bool(started(tmp_path / "further-1")), 20, "the first")
    for process in started(tmp_path / "further-1"):
        process.kill()
    thread.join(30)
    assert answers == [SmallResult(finishes=0)]
    assert (tmp_path / "further-2").is_dir()


def test_a_silent_one_is_given_up(tmp_path: Path) -> None:
    children = FurtherChildren(tmp_path, tmp_path / "process.log", {}, stall_seconds=0.5)
    with pytest.raises(ChildFailedError, match="It was tried 3 times"):
        children.run(MODULE, SmallSpec(acts=("hang",)), SmallResult)
    assert started(tmp_path) == []


def test_once_closed_none_runs_and_none_is_started(children: FurtherChildren, tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            children.run(MODULE, SmallSpec(acts=("hang",)), SmallResult)
        except ClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: bool(started(tmp_path)), 20, "the child")
    children.close()
    thread.join(20)
    assert len(errors) == 1
    assert started(tmp_path) == []
