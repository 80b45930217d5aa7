"""A checkpoint's line is passed on only when other hosts can see the checkpoint; old ones go."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app import child
from app.child import Reporter
from app.config import Settings
from app.context import AppContext
from app.jobs.claims import Claim
from app.schemas.progress_lines import AnyLine, CheckpointLine
from app.storage.home import Storage, open_storage
from app.storage.job_logs import download_logs
from app.workers.progress_file import ProgressFile
from app.workers.shared_progress import (
    LocalProgress,
    SharedProgress,
    forget_old_checkpoints,
    open_progress,
    upload_checkpoint,
)
from tests.services.rows import checkpoint, step

JOB = "job_1"


@pytest.fixture
def shared(tmp_path: Path, settings: Settings) -> Settings:
    (tmp_path / "shared").mkdir()
    return settings.model_copy(update={"storage_url": f"file://{tmp_path / 'shared'}"})


@pytest.fixture
def context(shared: Settings) -> Iterator[AppContext]:
    context = AppContext.open(shared)
    yield context
    context.close()


@pytest.fixture
def progress(context: AppContext, tmp_path: Path) -> Iterator[SharedProgress]:
    progress = SharedProgress(context, Claim(JOB, "training", 2, 2), ProgressFile(tmp_path / child.PROGRESS))
    yield progress
    progress.close()
    progress.join(10)


def _checkpoint(storage: Storage, sequence: int, fence: int = 2) -> Path:
    folder = storage.job_checkpoints(JOB) / f"{fence:04d}" / f"checkpoint-{sequence:06d}"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(str(sequence))
    return folder


def _report(tmp_path: Path, line: AnyLine) -> None:
    with closing(Reporter(tmp_path / child.PROGRESS)) as reporter:
        reporter.emit(line)


def _kinds(progress: LocalProgress | SharedProgress) -> list[str]:
    return [line.kind for line in progress.read()]


def _stored(storage: Storage) -> list[str]:
    root = storage.job_checkpoints(JOB)
    return [folder.relative_to(root).as_posix() for folder in storage.remote.list_whole(root)]


def test_a_checkpoint_is_told_of_once_it_is_shared(
    progress: SharedProgress, context: AppContext, tmp_path: Path
) -> None:
    (tmp_path / "shared").rename(tmp_path / "away")
    for sequence in (1, 2):
        folder = _checkpoint(context.storage, sequence)
        _report(tmp_path, step(sequence))
        _report(tmp_path, checkpoint(sequence, str(folder)))
    assert _kinds(progress) == ["step", "step"], "steps do not wait for the storage"
    progress.confirm()
    for _ in range(3):
        assert _kinds(progress) == []

    (tmp_path / "away").rename(tmp_path / "shared")
    progress.wait_until_uploaded(lambda: False)
    (line,) = progress.read()
    assert isinstance(line, CheckpointLine)
    assert line.step == 2, "of several that wait the newest is enough"
    assert _stored(context.storage) == ["0002/checkpoint-000002"]
    (again,) = progress.read()
    assert again == line, "what was not confirmed comes again"
    progress.confirm()
    assert progress.read() == []


def test_one_that_its_child_has_deleted_is_passed_over(
    progress: SharedProgress, context: AppContext, tmp_path: Path
) -> None:
    _report(tmp_path, checkpoint(1, str(context.storage.job_checkpoints(JOB) / "0002" / "gone")))
    progress.read()
    progress.wait_until_uploaded(lambda: False)
    assert progress.read() == []
    folder = _checkpoint(context.storage, 2)
    _report(tmp_path, checkpoint(2, str(folder)))
    progress.read()
    progress.wait_until_uploaded(lambda: False)
    assert _kinds(progress) == ["checkpoint"]


def test_when_it_is_late_nobody_waits(progress: SharedProgress, context: AppContext, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "shared")
    _report(tmp_path, checkpoint(1, str(_checkpoint(context.storage, 1))))
    progress.wait_until_uploaded(lambda: True)
    assert progress.read() == []


def test_the_last_two_are_kept_and_those_of_the_attempt_before(context: AppContext) -> None:
    storage = context.storage
    for fence, sequence in ((1, 1), (2, 2), (2, 3), (3, 4), (3, 5), (3, 6)):
        newest = _checkpoint(storage, sequence, fence)
        assert upload_checkpoint(storage, newest)
    forget_old_checkpoints(storage, newest)
    assert _stored(storage) == [
        "0002/checkpoint-000002",
        "0002/checkpoint-000003",
        "0003/checkpoint-000005",
        "0003/checkpoint-000006",
    ]


def test_logs_are_seen_elsewhere_as_they_grow(
    progress: SharedProgress, context: AppContext, shared: Settings, tmp_path: Path
) -> None:
    there = open_storage(shared.model_copy(update={"home": tmp_path / "there"}))
    there.create()
    log = context.storage.job_logs(JOB) / "0002" / "training_result.log"
    log.parent.mkdir(parents=True)
    seen = there.job_logs(JOB) / "0002" / log.name
    for text in ("one\n", "one\ntwo\n"):
        log.write_text(text)
        progress.upload_logs()
        download_logs(there, JOB)
        assert seen.read_text() == text
    seen.write_text("one\ntwo\nthree\n")
    download_logs(there, JOB)
    assert seen.read_text() == "one\ntwo\nthree\n", "a longer one, written here, is the newer one"


def test_without_a_shared_storage_every_line_passes_and_nothing_else_happens(
    context: AppContext, settings: Settings, tmp_path: Path
) -> None:
    alone = AppContext.open(settings)
    claim, file = Claim(JOB, "training", 1, 1), tmp_path / child.PROGRESS
    shared = open_progress(context, claim, file)
    assert isinstance(shared, SharedProgress)
    shared.close()
    shared.join(10)
    threads = threading.active_count()
    progress = open_progress(alone, claim, file)
    assert isinstance(progress, LocalProgress)
    _report(tmp_path, checkpoint(1, "anywhere"))
    assert _kinds(progress) == ["checkpoint"]
    progress.exchange(lambda: pytest.fail("there is nobody to exchange with"), lambda: None)
    progress.wait_until_uploaded(lambda: False)
    progress.upload_logs()
    progress.close()
    assert threading.active_count() == threads
    alone.close()
