from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from app.datasets.folders import FolderSource
from app.datasets.sources import DamagedEntryError, Limits
from app.errors import DatasetError


def test_files_come_in_the_order_of_their_names(write_folder: Any) -> None:
    root = write_folder({"dog/2.png": b"4", "cat/10.png": b"1", "cat/2.png": b"2", "dog/1.png": b"3"})
    with FolderSource(root, Limits()) as source:
        found = [(file.name, file.read()) for file in source.files()]
    assert found == [("cat/10.png", b"1"), ("cat/2.png", b"2"), ("dog/1.png", b"3"), ("dog/2.png", b"4")]
    assert source.folders == {"cat", "dog"}
    assert source.progress() == 1


def test_a_link_is_followed_inside_the_folder_only(write_folder: Any, tmp_path: Path) -> None:
    root = write_folder({"raw/1.png": b"1"})
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "elsewhere").mkdir()
    (root / "cat").mkdir()
    (root / "cat/inside.png").symlink_to("../raw/1.png")
    (root / "cat/outside.png").symlink_to(tmp_path / "secret")
    (root / "cat/dangling.png").symlink_to("nowhere.png")
    (root / "cat/loop").symlink_to(root)
    with FolderSource(root, Limits()) as source:
        assert {file.name: file.read() for file in source.files()} == {
            "cat/inside.png": b"1",
            "raw/1.png": b"1",
        }
    assert {name for name, _ in source.skipped} == {"cat/outside.png", "cat/dangling.png", "cat/loop"}


def test_a_file_that_turns_into_a_link_after_it_was_listed_is_not_followed(
    write_folder: Any, tmp_path: Path
) -> None:
    root = write_folder({"cat/1.png": b"1"})
    (tmp_path / "secret").write_bytes(b"secret")
    with FolderSource(root, Limits()) as source:
        for file in source.files():
            (root / "cat/1.png").unlink()
            (root / "cat/1.png").symlink_to(tmp_path / "secret")
            with pytest.raises(DamagedEntryError):
                file.read()


def test_pipes_are_skipped_and_never_waited_for(write_folder: Any) -> None:
    root = write_folder({"cat/1.png": b"1"})
    os.mkfifo(root / "cat/2.png")
    with FolderSource(root, Limits()) as source:
        assert [file.name for file in source.files()] == ["cat/1.png"]
    assert source.skipped == [("cat/2.png", "not a regular file")]


def test_limits_hold_for_folders_too(write_folder: Any) -> None:
    root = write_folder({f"cat/{number}.png": b"1" * 10 for number in range(5)})
    with pytest.raises(DatasetError, match="the folder has more than 4 entries"):
        list(FolderSource(root, Limits(max_entries=4)).files())
    with FolderSource(root, Limits(max_file_bytes=9)) as source:
        assert list(source.files()) == []
        assert len(source.skipped) == 5
