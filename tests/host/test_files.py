"""Files and folders appear whole under their names, or not at all."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from app.host.files import FileDigest, describe, folder_aside, write_aside


def break_off(writing: AbstractContextManager[Path]) -> None:
    with writing as aside:
        (aside / "file" if aside.is_dir() else aside).write_text("half")
        raise RuntimeError


def test_a_file_is_described_by_its_size_and_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert describe(tmp_path / "a") == FileDigest(3, hashlib.sha256(b"abc").hexdigest())
    with pytest.raises(FileNotFoundError):
        describe(tmp_path / "b")


@pytest.mark.parametrize("is_durable", [True, False])
@pytest.mark.parametrize("is_shared", [True, False])
def test_a_file_replaces_the_old_one_when_it_is_whole(
    tmp_path: Path, is_shared: bool, is_durable: bool
) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with write_aside(path, is_shared=is_shared, is_durable=is_durable) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(RuntimeError):
        break_off(write_aside(path, is_shared=is_shared))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_folder_appears_when_it_is_whole(tmp_path: Path, is_durable: bool) -> None:
    target = tmp_path / "a"
    with pytest.raises(RuntimeError):
        break_off(folder_aside(target))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".a.part").mkdir()
    (tmp_path / ".a.part" / "of a killed process").touch()
    with folder_aside(target, is_durable=is_durable) as aside:
        (aside / "file").write_text("whole")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["file"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_the_block_deletes_does_not_appear(tmp_path: Path) -> None:
    with folder_aside(tmp_path / "a") as aside:
        aside.rmdir()
    assert list(tmp_path.iterdir()) == []
