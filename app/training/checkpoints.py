"""Checkpoints on disk: written whole or not at all, proved by digests when they are read."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.host import failpoints
from app.host.files import describe, folder_aside, make_folder

Array = np.ndarray[Any, Any]

FORMAT_VERSION = 1
MANIFEST, STATE = "manifest.json", "state.json"
_PREFIX, _DOOMED = "checkpoint-", ".deleting-"


class CheckpointError(Exception):
    """A checkpoint is missing, incomplete, or not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and verified: JSON state, and named lists of arrays in their order."""

    folder: Path
    state: dict[str, Any]
    arrays: dict[str, list[Array]]


class CheckpointStore:
    """Writes the checkpoints of one attempt under ``root``, numbered on from those of earlier attempts."""

    def __init__(self, root: Path, *, sequence: int = 0) -> None:
        make_folder(root)
        self.root = root
        self.sequence = sequence

    def write(self, state: Mapping[str, Any], arrays: Mapping[str, Sequence[Array]]) -> tuple[Path, str]:
        """Writes ``state.json`` and one ``NAME.npz`` for each list: the folder, the digest of its manifest.

        When this returns, the checkpoint outlives a loss of power. OSError when the disk refuses; then
        nothing of it is left and earlier checkpoints are as they were.
        """
        self.sequence += 1
        folder = self.root / f"{_PREFIX}{self.sequence:06d}"
        with folder_aside(folder) as aside:
            failpoints.pass_by("checkpoint.writing")
            for name, values in arrays.items():
                with (aside / f"{name}.npz").open("wb") as file:
                    np.savez(file, *values)
            content = {**state, "sequence": self.sequence}
            (aside / STATE).write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
            files = {path.name: asdict(describe(path)) for path in sorted(aside.iterdir())}
            manifest = json.dumps({"format_version": FORMAT_VERSION, "files": files}, indent=1).encode()
            (aside / MANIFEST).write_bytes(manifest)
            failpoints.pass_by("checkpoint.written")
        failpoints.pass_by("checkpoint.renamed")
        return folder, hashlib.sha256(manifest).hexdigest()

    def prune(self, keep: int = 2) -> None:
        """Deletes all but the newest of this attempt's checkpoints; a damaged one needs the one before it."""
        for folder in _newest_first(self.root)[keep:]:
            # A folder that is half deleted must not look like a checkpoint.
            doomed = folder.with_name(folder.name.replace(_PREFIX, _DOOMED))
            folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def find_checkpoints(known: Iterable[Path]) -> Iterator[Path]:
    """All checkpoints beside the known ones, attempt by attempt in the order given, the newest of each first.

    ``known`` names checkpoints or the roots that hold them. Who asks for a resume knows of checkpoints by the
    progress lines that were read before a worker was lost: newer ones may exist, the known one may be pruned.
    """
    roots = [path.parent if path.name.startswith(_PREFIX) else path for path in known]
    for root in dict.fromkeys(roots):
        yield from _newest_first(root)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads and verifies a checkpoint. Raises CheckpointError that says what is wrong with it."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format_version"] != FORMAT_VERSION:
            raise CheckpointError(f"it has the format version {manifest['format_version']}")
        contents = {name: _read_verified(folder / name, entry) for name, entry in manifest["files"].items()}
        state = json.loads(contents.pop(STATE))
        arrays = {Path(name).stem: _parse_arrays(data) for name, data in contents.items()}
    except OSError as error:
        raise CheckpointError(f"it cannot be read: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"it is not a whole checkpoint: {error!r}") from error
    return Checkpoint(folder, state, arrays)


def _newest_first(root: Path) -> list[Path]:
    return sorted(root.glob(f"{_PREFIX}*"), reverse=True) if root.is_dir() else []


def _read_verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    data = path.read_bytes()
    if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"{path.name} has changed since it was written")
    return data


def _parse_arrays(data: bytes) -> list[Array]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return [archive[f"arr_{index}"] for index in range(len(archive.files))]
