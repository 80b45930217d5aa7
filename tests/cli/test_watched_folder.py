from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.cli.client import CommandError
from app.cli.packing import MAX_FILE_BYTES
from app.cli.watched_folder import ChangedError, Version, WatchedFolder


def _watch(folder: Path, *, is_recursive: bool = False, settle_seconds: float = 0) -> WatchedFolder:
    return WatchedFolder(
        folder, is_recursive=is_recursive, settle_seconds=settle_seconds, excluded=frozenset()
    )


def _version(path: Path) -> Version:
    (version,) = _watch(path.parent).look().whole
    return version


def test_the_oldest_comes_first_and_a_key_is_that_of_name_size_and_time(tmp_path: Path) -> None:
    for name, seconds in {"a.png": 3, "b.png": 1, "c.png": 2}.items():
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (seconds, seconds))

    versions = _watch(tmp_path).look().whole
    again = _watch(tmp_path).look().whole

    assert [version.name for version in versions] == ["b.png", "c.png", "a.png"]
    assert [version.key for version in versions] == [version.key for version in again]
    assert len({version.key for version in versions}) == 3


def test_only_what_stays_as_it_is_becomes_whole(tmp_path: Path) -> None:
    watched = _watch(tmp_path, settle_seconds=0.05)
    (tmp_path / "a.png").write_bytes(b"x")
    looks = [watched.look()]
    for size in (2, 3):
        (tmp_path / "a.png").write_bytes(b"x" * size)
        looks.append(watched.look())

    assert [(len(look.whole), look.unfinished) for look in looks] == [(0, 1)] * 3


def test_a_folder_that_goes_meanwhile_is_no_error_and_the_watched_one_is(tmp_path: Path) -> None:
    watched = _watch(tmp_path / "in", is_recursive=True)
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/a.png").write_bytes(b"x")
    assert [version.name for version in watched.look().whole] == ["sub/a.png"]

    (tmp_path / "in").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        watched.look()


def test_a_file_that_is_another_one_by_now_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    version = _version(path)

    path.write_bytes(b"longer")
    with pytest.raises(ChangedError):
        version.read()
    path.unlink()
    (tmp_path / "secret").write_bytes(b"x")
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        version.read()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ChangedError):
        version.read()


def test_a_film_is_refused_without_being_read(tmp_path: Path) -> None:
    with (tmp_path / "film.png").open("wb") as film:
        film.truncate(MAX_FILE_BYTES + 1)

    with pytest.raises(CommandError, match="128 MiB, the limit"):
        _version(tmp_path / "film.png").read()
