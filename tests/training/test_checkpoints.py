import os
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.training.checkpoints import CheckpointError, CheckpointStore, find_checkpoints, read_checkpoint

ARRAYS: dict[str, list[Any]] = {
    "model": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7, 8], np.int64), np.float32(0.1)],
    "optimizer": [np.array(3, np.int64)],
}


def write(store: CheckpointStore, step: int = 1) -> Path:
    return store.write({"step": step, "loss": 0.1}, ARRAYS)[0]


def test_what_is_read_is_what_was_written_to_the_bit(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write(CheckpointStore(tmp_path)))
    assert checkpoint.state == {"step": 1, "loss": 0.1, "sequence": 1}
    assert checkpoint.arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        for found, expected in zip(checkpoint.arrays[name], values, strict=True):
            assert found.dtype == expected.dtype
            assert found.shape == expected.shape
            assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["model.npz", "optimizer.npz", "state.json", "manifest.json"])
def test_one_flipped_bit_is_detected_wherever_it_is(tmp_path: Path, name: str) -> None:
    path = write(CheckpointStore(tmp_path)) / name
    whole = path.read_bytes()
    for position in np.linspace(0, len(whole) - 1, 23, dtype=int):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            read_checkpoint(path.parent)


@pytest.mark.parametrize("name", ["model.npz", "state.json", "manifest.json"])
def test_a_missing_or_cut_file_is_detected(tmp_path: Path, name: str) -> None:
    path = write(CheckpointStore(tmp_path)) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError):
        read_checkpoint(path.parent)
    path.unlink()
    with pytest.raises(CheckpointError):
        read_checkpoint(path.parent)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in range(4):
        write(store, step)
        store.prune()
    assert [read_checkpoint(path).state["step"] for path in find_checkpoints([tmp_path])] == [3, 2]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_refuses_leaves_the_earlier_checkpoint_and_no_rest(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    first = write(store)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            store.write({}, {"model": [np.zeros(4096, np.float32)]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [first]
    assert read_checkpoint(write(store, 2)).state["step"] == 2


def test_everything_is_on_disk_before_the_name_appears_and_the_name_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, events = CheckpointStore(tmp_path), list[tuple[str, str]]()
    fsync, rename = os.fsync, Path.replace

    def note_fsync(handle: int) -> None:
        events.append(("fsync", Path(f"/proc/self/fd/{handle}").readlink().name))
        fsync(handle)

    def note_rename(source: Path, target: Path) -> Path:
        events.append(("rename", source.name))
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_rename)
    folder = write(store)
    aside = next(name for kind, name in events if kind == "rename")
    at = events.index(("rename", aside))
    assert {name for _, name in events[:at]} == {path.name for path in folder.iterdir()} | {aside}
    assert events[at + 1 :] == [("fsync", tmp_path.name)]


def test_what_a_killed_writer_left_is_no_checkpoint(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    first = write(store)
    shutil.copytree(first, tmp_path / ".checkpoint-000002.part")
    assert list(find_checkpoints([first])) == [first]
    assert write(store).name == "checkpoint-000002"


def test_newer_checkpoints_beside_a_known_one_are_found_attempt_by_attempt(tmp_path: Path) -> None:
    first = CheckpointStore(tmp_path / "attempt-1")
    old = [write(first) for _ in range(2)]
    second = CheckpointStore(tmp_path / "attempt-2", sequence=first.sequence)
    new = [write(second) for _ in range(2)]
    pruned = tmp_path / "attempt-2" / "checkpoint-000001"
    assert list(find_checkpoints([pruned, old[0]])) == [new[1], new[0], old[1], old[0]]
    assert list(find_checkpoints([tmp_path / "nowhere"])) == []
