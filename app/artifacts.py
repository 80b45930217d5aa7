"""One trained model on disk: files and the manifest that describes them. The only owner of the format."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from app.errors import ArtifactError
from app.host.files import FileDigest, describe, sync, write_aside

FORMAT_VERSION = 1
MANIFEST, KERAS_MODEL, LITERT_MODEL = "manifest.json", "model.keras", "model.tflite"
REQUIRED_FILES = (KERAS_MODEL, LITERT_MODEL)

_HINT = "Restore the folder from a backup, or train the model again."


@dataclass(frozen=True)
class Serving:
    """What answers predictions: the runtime, its number format, the model's size in bytes.

    ``parity`` says how far its answers are from the trained network's, or is None until it was measured.
    """

    runtime: Literal["litert"]
    precision: str
    bytes: int
    parity: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Manifest:
    """What one needs to know to use a model, and where it comes from.

    ``image_size`` is (height, width) in pixels; ``labels`` are in the order of the model's outputs;
    ``resize_rule`` is ``app.images.RESIZE_RULE`` of the code that made the training pictures.
    ``files`` maps a path relative to the folder to its digest and is filled in by ``write_artifact``.
    """

    network: str
    image_size: tuple[int, int]
    labels: tuple[str, ...]
    resize_rule: str
    dataset_digest: str
    split_digest: str | None
    hyperparameters: Mapping[str, Any]
    seed: int
    best_epoch: int
    metrics: Mapping[str, Any]
    weights_sha256: str
    serving: Serving
    versions: Mapping[str, str]
    created_at: str
    files: Mapping[str, FileDigest] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def to_json(self) -> bytes:
        """UTF-8 JSON, the content of ``manifest.json``. Raises ValueError for NaN and infinities."""
        value = {"format_version": self.format_version, **asdict(self)}
        return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Parses and checks a manifest. Keys it does not know are ignored. Raises ArtifactError."""
        try:
            manifest = _ADAPTER.validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = "/".join(str(part) for part in first["loc"]) or "the whole text"
            raise ArtifactError(f"{MANIFEST} is not valid at {where}: {first['msg']}", hint=_HINT) from None
        manifest._check()
        return manifest

    def _check(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ArtifactError(
                f"The artifact has format version {self.format_version}; this Loupe reads {FORMAT_VERSION}.",
                hint="Use the version of Loupe that wrote the model, or train it again.",
            )
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ArtifactError(f"{MANIFEST} must name every label once, and at least one.", hint=_HINT)
        if min(self.image_size) < 1:
            raise ArtifactError(f"{MANIFEST} has the image size {self.image_size}.", hint=_HINT)
        for name in self.files:
            _check_name(name)


_ADAPTER = TypeAdapter(Manifest)


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

    def verify(self) -> None:
        """Checks size and SHA-256 of every file. Raises ArtifactError naming the first that differs."""
        for name, expected in self.manifest.files.items():
            _check_place(self.folder, name)
            _compare(name, _digest(self.folder / name, name), expected)


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


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts or any(mark in name for mark in "\\\0")
    if name in ("", MANIFEST) or leads_out:
        raise ArtifactError(
            f"{MANIFEST} lists the file {name!r}, which may not be part of an artifact.", hint=_HINT
        )


def _check_place(folder: Path, name: str) -> None:
    """A link inside the folder could lead out of it just as well as a path could."""
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{name} lies outside the artifact's folder.", hint=_HINT)


def _unreadable(name: str, error: OSError) -> ArtifactError:
    return ArtifactError(f"{name} cannot be read: {error.strerror}.", hint=_HINT)
