"""The folder of an artifact: written whole, read and checked by its digests."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.artifacts.manifest import MANIFEST, Manifest
from app.errors import ArtifactError
from app.host.files import FileDigest, describe, sync, write_aside

KERAS_MODEL, LITERT_MODEL = "model.keras", "model.tflite"
REQUIRED_FILES = (KERAS_MODEL, LITERT_MODEL)
REFERENCES, CLASSIFIER = "reference_features.npy", "classifier.npy"
"""A model may lack them: features of training images; its classifier's kernel, float16 (n, classes)."""

_HINT = "Restore the folder from a backup, or train the model again."


@dataclass(frozen=True)
class Artifact:
    """An opened artifact folder. ``digest`` is the SHA-256 of its manifest, and so of everything in it."""

    folder: Path
    manifest: Manifest
    digest: str

    def path(self, name: str) -> Path:
        """Where one of its files lies. Raises ArtifactError when the manifest does not list it."""
        if name not in self.manifest.files:
            raise ArtifactError(f"The artifact has no file {name!r}.", hint=_HINT)
        return self.folder / name

    def read(self, name: str) -> bytes:
        """One of its files, whole; the bytes returned are those that were checked. Raises ArtifactError."""
        path, expected = self.path(name), self.manifest.files[name]
        _check_place(self.folder, name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _unreadable(name, error) from error
        _compare(name, FileDigest(len(data), hashlib.sha256(data).hexdigest()), expected)
        return data

    def verify(self, *names: str) -> None:
        """Checks size and SHA-256 of these files, or of all. Raises ArtifactError for one that differs."""
        for name in names or self.manifest.files:
            path = self.path(name)
            _check_place(self.folder, name)
            _compare(name, _digest(path, name), self.manifest.files[name])


def write_artifact(folder: Path, manifest: Manifest, files: Iterable[Path]) -> Artifact:
    """Makes ``folder`` an artifact of ``files``, copied in under their own names unless they lie there.

    The manifest is renamed into place after everything it lists is on disk: with a manifest it is whole.
    Writing again over the files that lie there, to add what was measured since, replaces only the manifest.
    Raises ArtifactError when a required file is missing or the manifest is not valid, OSError from the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digests: dict[str, FileDigest] = {}
    for source in files:
        target = folder / source.name
        if source.resolve() != target.resolve():
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.copyfile(source, target)
        sync(target)
        digests[source.name] = _digest(target, source.name)
    missing = [name for name in REQUIRED_FILES if name not in digests]
    if missing:
        raise ArtifactError(f"An artifact needs {' and '.join(missing)}.")
    data = replace(manifest, files=digests).to_json()
    checked = Manifest.from_json(data)
    with write_aside(folder / MANIFEST) as aside:
        aside.write_bytes(data)
    return Artifact(folder, checked, hashlib.sha256(data).hexdigest())


def open_artifact(folder: Path, *, verify: bool = True, digest: str | None = None) -> Artifact:
    """Reads the manifest and, unless told not to, checks every file against it. Raises ArtifactError.

    ``digest`` is what the artifact's must be, if it is known from elsewhere: it guards the manifest itself.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise _unreadable(MANIFEST, error) from error
    manifest = Manifest.from_json(data)
    missing = [name for name in REQUIRED_FILES if name not in manifest.files]
    if missing:
        raise ArtifactError(f"{MANIFEST} does not list {' and '.join(missing)}.", hint=_HINT)
    artifact = Artifact(folder, manifest, hashlib.sha256(data).hexdigest())
    if digest is not None and artifact.digest != digest:
        raise ArtifactError(f"{MANIFEST} has changed since the model was registered.", hint=_HINT)
    if verify:
        artifact.verify()
    return artifact


def weights_sha256(arrays: Iterable[np.ndarray[Any, Any]]) -> str:
    """SHA-256 (hex) over the raw bytes of the arrays, C order, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _digest(path: Path, name: str) -> FileDigest:
    try:
        return describe(path)
    except OSError as error:
        raise _unreadable(name, error) from error


def _compare(name: str, found: FileDigest, expected: FileDigest) -> None:
    if found.bytes != expected.bytes:
        raise ArtifactError(f"{name} has {found.bytes} bytes instead of {expected.bytes}.", hint=_HINT)
    if found.sha256 != expected.sha256:
        raise ArtifactError(f"{name} has changed: its SHA-256 is not the manifest's.", hint=_HINT)


def _check_place(folder: Path, name: str) -> None:
    """A link inside the folder could lead out of it just as well as a path could."""
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{name} lies outside the artifact's folder.", hint=_HINT)


def _unreadable(name: str, error: OSError) -> ArtifactError:
    return ArtifactError(f"{name} cannot be read: {error.strerror}.", hint=_HINT)
