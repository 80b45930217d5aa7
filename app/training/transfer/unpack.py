"""A zip that another Loupe is said to have sent: unpacked and checked, believing nothing in it.

Exactly the files of ``app/artifacts/archive.py`` are taken, under our own names, and no other. What the
manifest says is checked by what it means here. Nothing is built, loaded or run.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from app.artifacts import (
    ARCHIVE_FILES,
    CLASSIFIER,
    KERAS_MODEL,
    LITERT_MODEL,
    MANIFEST,
    PROBES,
    REFERENCES,
    TRANSFER,
    Calibration,
    Decision,
    Manifest,
    ReferenceFeatures,
    Transfer,
    make_probes,
)
from app.datasets.archives import Budget, check_entry_count
from app.datasets.names import show
from app.datasets.sources import Limits
from app.errors import ArchiveError, ArtifactError, InvalidRequestError, LoupeError, UnsafeArchiveError
from app.evaluation.calibration import COLDEST, HOTTEST
from app.evaluation.figures import Estimate, Metrics
from app.host.files import FileDigest, describe
from app.images.resize import get_rule
from app.inference.familiarity import parse_references
from app.networks import get_network
from app.schemas.class_map import ClassMap
from app.schemas.message import explain_invalid, parse_message

T = TypeVar("T")

MOST_BYTES = 4 * 2**30
"""Of all files together: twice the largest network, with room for many classes."""
_MOST_TEXT = {MANIFEST: 2**20, TRANSFER: 2**24}
_MOST_LABELS, _MOST_LABEL_BYTES = 10_000, 1024
_SIDES = range(8, 2049)
_FILES = (*ARCHIVE_FILES, REFERENCES)
_MOST_REFERENCES, _MOST_DIMENSIONS, _MOST_THRESHOLDS = 100_000, 100_000, 100
_HEX = re.compile(r"[0-9a-f]{64}")
_CHUNK = 2**20
_SUM_TOLERANCE = 1e-3
_HINT = "Send a zip as `loupe model download` writes it."


@dataclass(frozen=True)
class Received:
    """What is believed of the zip. ``manifest``: only what this version knows and has checked; ``digest``: of
    the manifest as it came. ``answers``: (n, classes), of the model that is served elsewhere.
    """

    manifest: Manifest
    digest: str
    transfer: Transfer
    keras_file: Path
    answers: NDArray[np.float32]
    references: NDArray[np.float16] | None


def unpack_archive(path: Path, folder: Path) -> Received:
    """Unpacks into ``folder``, which is made. Raises ArchiveError with what is wrong and what to do."""
    folder.mkdir(parents=True)
    _unpack(path, folder)
    data = (folder / MANIFEST).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    with _refusing():
        manifest = Manifest.from_json(data)
        transfer = parse_message(Transfer, (folder / TRANSFER).read_bytes(), TRANSFER)
    _check_files(manifest, folder)
    if transfer.artifact_digest != digest:
        raise _refused(f"{TRANSFER} is of another artifact than {MANIFEST}")
    checked = _check_manifest(manifest)
    answers, references = _read_answers(transfer, checked), _read_references(checked, folder)
    return Received(checked, digest, transfer, folder / KERAS_MODEL, answers, references)


def _unpack(path: Path, folder: Path) -> None:
    try:
        check_entry_count(path, len(_FILES))
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            for info in infos:
                _check_entry(info)
            names = [info.filename for info in infos]
            if len(set(names)) != len(names):
                raise UnsafeArchiveError("the zip has several files of one name", hint=_HINT)
            if missing := [name for name in ARCHIVE_FILES if name not in names]:
                raise _refused(f"the zip has no {' and no '.join(missing)}")
            limits = Limits(max_total_bytes=MOST_BYTES)
            Budget(limits, path.stat().st_size).reach(sum(info.file_size for info in infos))
            for info in infos:
                _copy(archive, info, folder / info.filename)
    except (LoupeError, MemoryError, OSError):
        raise
    # zipfile raises nearly every exception on headers that were made to harm.
    except Exception as error:
        raise _refused(f"the zip cannot be read: {error or type(error).__name__}"[:500]) from error


def _check_entry(info: zipfile.ZipInfo) -> None:
    if info.filename not in _FILES:
        raise UnsafeArchiveError(f"{show(info.filename)} is no file of a model's zip", hint=_HINT)
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise UnsafeArchiveError(f"{info.filename} is a link or a device", hint=_HINT)
    if info.flag_bits & 1:
        raise _refused(f"{info.filename} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(f"{info.filename} is compressed by method {info.compress_type}")
    if info.file_size > _MOST_TEXT.get(info.filename, MOST_BYTES):
        raise UnsafeArchiveError(f"{info.filename} has {info.file_size:,} bytes", hint=_HINT)


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """zipfile gives no more than an entry declares, and an error where there is more or its sum is wrong."""
    with archive.open(info) as source, target.open("xb") as copy:
        while chunk := source.read(_CHUNK):
            copy.write(chunk)


def _check_files(manifest: Manifest, folder: Path) -> None:
    wanted = {KERAS_MODEL, LITERT_MODEL} | ({REFERENCES} if manifest.reference_features else set())
    # The classifier's weights are not sent: they are among those of the network.
    if set(manifest.files) - {CLASSIFIER} != wanted or {one.name for one in folder.iterdir()} != (
        wanted | {MANIFEST, TRANSFER}
    ):
        raise _refused(f"the zip and {MANIFEST} must have {' and '.join(sorted(wanted))}, and nothing else")
    for name in sorted(wanted):
        expected = manifest.files[name]
        found: FileDigest = describe(folder / name)
        if found != expected:
            raise _refused(f"{name} is not the file that {MANIFEST} describes")


def _check_manifest(manifest: Manifest) -> Manifest:
    """The manifest with what was checked, and without what this version would only repeat."""
    with _refusing():
        network = get_network(manifest.network).name
        get_rule(manifest.resize_rule)
    if manifest.calibration is not None:
        _check_calibration(manifest.calibration)
    if manifest.decision is not None:
        _check_decision(manifest.decision)
    if manifest.reference_features is not None:
        _check_reference_features(manifest.reference_features)
    if any(side not in _SIDES for side in manifest.image_size):
        raise _refused(f"its images have {manifest.image_size[0]} x {manifest.image_size[1]} pixels")
    if len(manifest.labels) > _MOST_LABELS:
        raise _refused(f"it has {len(manifest.labels):,} classes, more than {_MOST_LABELS:,}")
    for label in manifest.labels:
        _check_label(label)
    digests = (manifest.dataset_digest, manifest.split_digest, manifest.evaluation_dataset_digest)
    for digest in (manifest.weights_sha256, *(one for one in digests if one is not None)):
        if not _HEX.fullmatch(digest):
            raise _refused(f"{show(digest)} in {MANIFEST} is no SHA-256")
    if not 1 <= manifest.best_epoch <= 10**6 or not 0 <= manifest.seed < 2**63:
        raise _refused(f"{MANIFEST} has an impossible epoch or seed")
    outputs = manifest.outputs or ()
    if outputs and (outputs[0].kind, outputs[0].size) != ("probabilities", len(manifest.labels)):
        raise _refused(f"{MANIFEST} describes another first output than one probability a class")
    try:
        datetime.fromisoformat(manifest.created_at)
        json.dumps([dict(manifest.hyperparameters), dict(manifest.versions)], allow_nan=False)
    except ValueError as error:
        raise _refused(f"{MANIFEST} has a value that is none: {error}"[:200]) from None
    return replace(
        manifest,
        network=network,
        metrics=asdict(_check_metrics(manifest.metrics)),
        class_map=None if manifest.class_map is None else _check_class_map(manifest.class_map),
        runtimes=None,
        files={},
    )


def _check_calibration(calibration: Calibration) -> None:
    losses = (calibration.log_loss, calibration.log_loss_before)
    if not COLDEST <= calibration.temperature <= HOTTEST or not all(0 <= loss < 1e6 for loss in losses):
        raise _refused(f"{MANIFEST} has a calibration that no fit gives")


def _check_decision(decision: Decision) -> None:
    thresholds = decision.thresholds
    shares = [share for one in thresholds for share in (one.max_error, one.probability, one.coverage)]
    shares += [decision.confidence_level, *([decision.lost] if decision.lost is not None else [])]
    counts = [count for one in thresholds for count in (one.images, one.errors)]
    counts += [decision.items, decision.tried]
    is_possible = (
        len(thresholds) <= _MOST_THRESHOLDS
        and all(0 <= share <= 1 for share in shares)
        and all(0 <= count < 1e12 for count in counts)
        and (decision.similarity is None or -1 <= decision.similarity <= 1)
        and sorted(one.max_error for one in thresholds) == [one.max_error for one in thresholds]
    )
    if not is_possible:
        raise _refused(f"{MANIFEST} has a decision that no fit gives")


def _check_reference_features(described: ReferenceFeatures) -> None:
    if (described.file, described.dtype) != (REFERENCES, "float16"):
        raise _refused(f"{MANIFEST} has reference features in another file or format")
    if not (0 < described.items <= _MOST_REFERENCES and 0 < described.dimensions <= _MOST_DIMENSIONS):
        raise _refused(f"{MANIFEST} has {described.items:,} reference features")


def _read_references(manifest: Manifest, folder: Path) -> NDArray[np.float16] | None:
    described = manifest.reference_features
    if described is None:
        return None
    shape = (described.items, described.dimensions)
    path = folder / REFERENCES
    if path.stat().st_size > 2 * shape[0] * shape[1] + 4096:
        raise _refused(f"{REFERENCES} is larger than {MANIFEST} says")
    with _refusing():
        return parse_references(path.read_bytes(), shape)


def _check_label(label: str) -> None:
    is_odd = any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in label)
    if is_odd or not label.strip() or len(label.encode("utf-8", "surrogatepass")) > _MOST_LABEL_BYTES:
        raise _refused(f"{show(label)} cannot be the name of a class")


def _check_metrics(metrics: Any) -> Metrics:
    found = _parsed(Metrics, metrics, "metrics")
    estimates = [value for value in vars(found).values() if isinstance(value, Estimate)]
    shares = [
        *(share for one in estimates for share in (one.value, one.low, one.high) if share is not None),
        found.top_k.value,
    ]
    if not all(0 <= share <= 1 for share in shares) or not 0 <= found.log_loss < float("inf"):
        raise _refused(f"{MANIFEST} has metrics that no test gives")
    return found


def _check_class_map(class_map: Any) -> dict[str, Any]:
    return _parsed(ClassMap, class_map, "class_map").model_dump(mode="json")


def _parsed(kind: type[T], value: Any, name: str) -> T:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise _refused(explain_invalid(f"{name} in {MANIFEST}", error)) from None


def _read_answers(transfer: Transfer, manifest: Manifest) -> NDArray[np.float32]:
    if transfer.probes != PROBES:
        raise _refused(f"{TRANSFER} has answers about {show(transfer.probes)}, which this Loupe cannot make")
    images, classes = len(make_probes((1, 1))), len(manifest.labels)
    if [len(row) for row in transfer.answers] != [classes] * images:
        raise _refused(f"{TRANSFER} must have {images} answers of {classes} classes")
    answers = np.array(transfer.answers, np.float32)
    # Written so that NaN fails it too.
    if not (answers.min() >= 0 and np.abs(answers.sum(axis=1) - 1).max() <= _SUM_TOLERANCE):
        raise _refused(f"{TRANSFER} has answers that are no probabilities")
    return answers


@contextmanager
def _refusing() -> Iterator[None]:
    """What is an error of an artifact of ours is an error of the zip here."""
    try:
        yield
    except (ArtifactError, InvalidRequestError) as error:
        raise ArchiveError(error.detail, hint=_HINT) from error


def _refused(reason: str) -> ArchiveError:
    return ArchiveError(reason, hint=_HINT)
