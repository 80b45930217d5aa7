"""Zips that claim to be a model of another Loupe: a list of those that are not, each refused in words."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.artifacts import (
    ARCHIVE_FILES,
    PROBES,
    REFERENCES,
    Artifact,
    Calibration,
    Decision,
    Origin,
    Threshold,
    Transfer,
    make_probes,
    write_archive,
)
from app.errors import ArchiveError, LoupeError, UnknownNetworkError
from app.evaluation.metrics import evaluate_predictions
from app.training.transfer.unpack import unpack_archive
from tests.packaged_models import LABELS

METRICS = asdict(evaluate_predictions(np.array([0, 1]), np.eye(3, dtype=np.float32)[[0, 2]], LABELS).metrics)
Files = dict[str, bytes]
CALIBRATION = asdict(Calibration("temperature", 2.0, "valid", 9, log_loss=0.1, log_loss_before=0.2))
THRESHOLD = asdict(Threshold(0.01, 0.9, 0.8, 320.0, 0.5))
DECISION = asdict(Decision(0.95, "valid", 400, 1, ())) | {"thresholds": [THRESHOLD]}
REFERENCE_FEATURES = {"file": "reference_features.npy", "items": 2, "dimensions": 3, "dtype": "float16"}


@pytest.fixture
def files(make_artifact: Callable[..., Artifact], tmp_path: Path) -> Files:
    """The files of a good zip; the weights in it are not looked at here."""
    artifact = make_artifact(tmp_path / "artifact", metrics=METRICS, weights_sha256="a" * 64)
    transfer = Transfer(
        model="mdl_1",
        product="screws",
        version=3,
        artifact_digest=artifact.digest,
        probes=PROBES,
        answers=((0.25, 0.25, 0.5),) * len(make_probes((1, 1))),
    )
    path = tmp_path / "good.zip"
    write_archive(path, artifact, transfer)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(files: Files, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def said(path: Path, kind: type[LoupeError] = ArchiveError) -> str:
    """What the refusal says; it leaves nothing but files under our own names."""
    folder = path.parent / "unpacked"
    with pytest.raises(kind) as caught:
        unpack_archive(path, folder)
    assert caught.value.status == 422
    assert {one.name for one in folder.iterdir()} <= {*ARCHIVE_FILES, REFERENCES}
    return caught.value.detail


def test_a_good_zip_is_taken_packed_either_way(files: Files, tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = tmp_path / f"{method}.zip"
        path.write_bytes(pack(files, method))
        received = unpack_archive(path, tmp_path / f"{method}")
        assert received.manifest.labels == LABELS
        assert received.digest == hashlib.sha256(files["manifest.json"]).hexdigest()
        assert received.answers.dtype == np.float32
        assert received.manifest.files == {}


def with_manifest(**changes: Any) -> Callable[[Files], Files]:
    """Changes the manifest, and the digest of it: whoever means harm does that too."""

    def change(files: Files) -> Files:
        manifest = json.loads(files["manifest.json"]) | changes
        data = json.dumps({name: value for name, value in manifest.items() if value is not ...}).encode()
        transfer = json.loads(files["transfer.json"]) | {"artifact_digest": hashlib.sha256(data).hexdigest()}
        return {**files, "manifest.json": data, "transfer.json": json.dumps(transfer).encode()}

    return change


def with_transfer(**changes: Any) -> Callable[[Files], Files]:
    return lambda files: {
        **files,
        "transfer.json": json.dumps(json.loads(files["transfer.json"]) | changes).encode(),
    }


def with_answers(value: float) -> Callable[[Files], Files]:
    return with_transfer(answers=[[value, 0.0, 0.0]] * 8)


def without(name: str, **others: bytes) -> Callable[[Files], Files]:
    return lambda files: {**{each: data for each, data in files.items() if each != name}, **others}


CONTENTS: dict[str, tuple[Callable[[Files], Files], str]] = {
    "no manifest": (
        lambda files: {k: v for k, v in files.items() if k != "manifest.json"},
        "has no manifest",
    ),
    "no answers": (
        lambda files: {k: v for k, v in files.items() if k != "transfer.json"},
        "no transfer.json",
    ),
    "one more": (lambda files: {**files, "model.py": b""}, "'model.py' is no file of a model's zip"),
    "two more": (lambda files: {**files, "a.py": b"", "b.py": b""}, "more than 5 entries"),
    "references that are not described": (
        lambda files: {**files, "reference_features.npy": b""},
        "and nothing else",
    ),
    "another": (without("model.keras", **{"x.py": b""}), "'x.py' is no file of a model's zip"),
    "a folder around it": (lambda files: {f"m/{k}": v for k, v in files.items()}, "is no file of a model's"),
    "a path": (
        lambda files: {**dict(list(files.items())[:3]), "../model.keras": b""},
        "no file of a model's",
    ),
    "no JSON": (lambda files: {**files, "manifest.json": b"\xff"}, "manifest.json is not valid"),
    "a list": (lambda files: {**files, "manifest.json": b"[]"}, "manifest.json is not valid"),
    "deep": (lambda files: {**files, "manifest.json": b"[" * 10**5}, "manifest.json is not valid"),
    "long": (
        lambda files: {**files, "manifest.json": b" " * (2**20 + 1)},
        "manifest.json has 1,048,577 bytes",
    ),
    "changed weights": (lambda files: {**files, "model.keras": b"x" * 22}, "model.keras is not the file"),
    "changed manifest": (
        lambda files: {**files, "manifest.json": files["manifest.json"] + b"\n"},
        "is of another artifact",
    ),
    "a newer version": (with_manifest(format_version=2), "has format version 2; this Loupe reads 1"),
    "without a version of its own": (with_manifest(network=...), "not valid at network"),
    "another file": (with_manifest(files={"../x": {"bytes": 1, "sha256": "0"}}), "may not be part"),
    "fewer files": (with_manifest(files={}), "must have model.keras and model.tflite"),
    "another rule": (with_manifest(resize_rule="nearest-9"), "resized by 'nearest-9'"),
    "calibrated by another method": (
        with_manifest(calibration={**CALIBRATION, "method": "magic"}),
        "not valid at calibration",
    ),
    "boiling": (with_manifest(calibration={**CALIBRATION, "temperature": 1e9}), "a calibration that no fit"),
    "undecided": (with_manifest(decision={**DECISION, "similarity": 7.0}), "a decision that no fit gives"),
    "without limits": (
        with_manifest(decision={**DECISION, "thresholds": [THRESHOLD | {"probability": -1.0}]}),
        "a decision that no fit gives",
    ),
    "references that are not there": (
        with_manifest(reference_features=REFERENCE_FEATURES),
        "must have model.keras and model.tflite and reference_features.npy",
    ),
    "references elsewhere": (
        with_manifest(reference_features={**REFERENCE_FEATURES, "file": "/etc/passwd"}),
        "must have model.keras",
    ),
    "tiny images": (with_manifest(image_size=[1, 1]), "1 x 1 pixels"),
    "huge images": (with_manifest(image_size=[16, 10**6]), "16 x 1000000 pixels"),
    "no labels": (with_manifest(labels=[]), "every label once"),
    "a label twice": (with_manifest(labels=["a", "a"]), "every label once"),
    "a number": (with_manifest(labels=["a", 7]), "not valid at labels"),
    "a blank label": (with_manifest(labels=["a", " ", "c"]), "cannot be the name of a class"),
    "an escape": (with_manifest(labels=["a", "\x1b[2J", "c"]), "cannot be the name of a class"),
    "half a letter": (with_manifest(labels=["a", "\ud800", "c"]), "not valid"),
    "a long label": (with_manifest(labels=["a", "x" * 2000, "c"]), "cannot be the name of a class"),
    "many labels": (with_manifest(labels=[f"{n}" for n in range(10_001)]), "10,001 classes"),
    "other outputs": (
        with_manifest(outputs=[{"kind": "features", "size": 3}]),
        "describes another first output",
    ),
    "no digest": (with_manifest(weights_sha256="<script>"), "is no SHA-256"),
    "no time": (with_manifest(created_at="yesterday"), "a value that is none"),
    "no epoch": (with_manifest(best_epoch=-1), "impossible epoch"),
    "NaN in settings": (with_manifest(hyperparameters={"x": float("nan")}), "a value that is none"),
    "no metrics": (with_manifest(metrics={}), "metrics in manifest.json is not valid at accuracy"),
    "a perfect score and more": (
        with_manifest(metrics={**METRICS, "accuracy": {"value": 7.0, "low": None, "high": None}}),
        "metrics that no test gives",
    ),
    "NaN as a score": (
        with_manifest(metrics={**METRICS, "log_loss": float("nan")}),
        "metrics that no test gives",
    ),
    "an odd class map": (with_manifest(class_map={"keep": "all"}), "class_map in manifest.json"),
    "other questions": (with_transfer(probes="shake-9"), "answers about 'shake-9'"),
    "answers of another": (with_transfer(artifact_digest="0" * 64), "is of another artifact"),
    "too few answers": (with_transfer(answers=[[1.0, 0.0, 0.0]]), "must have 8 answers of 3 classes"),
    "answers of NaN": (with_answers(float("nan")), "transfer.json is not valid"),
    "answers beyond 1": (with_answers(2.0), "no probabilities"),
    "a newer form": (with_transfer(format_version=2), "transfer.json is not valid at format_version"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_does_not_hold_is_refused(files: Files, tmp_path: Path, name: str) -> None:
    change, message = CONTENTS[name]
    (tmp_path / "bad.zip").write_bytes(pack(change(files)))
    assert message in said(tmp_path / "bad.zip")


def test_a_network_that_is_not_known_here_is_refused(files: Files, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(pack(with_manifest(network="os.system")(files)))
    assert "os.system" in said(tmp_path / "bad.zip", UnknownNetworkError)


def with_entry(name: str, **fields: Any) -> Callable[[Files], bytes]:
    """One entry with other fields in its header than zipfile would write."""

    def change(files: Files) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for each, data in files.items():
                info = zipfile.ZipInfo(each)
                for field, value in fields.items() if each == name else ():
                    setattr(info, field, value)
                archive.writestr(info, data)
        return buffer.getvalue()

    return change


def twice(files: Files) -> bytes:
    names = list(files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in [*names[:3], "manifest.jsoN"]:
            archive.writestr(name, files.get(name, b""))
    return buffer.getvalue().replace(b"manifest.jsoN", b"manifest.json")


def growing(files: Files) -> bytes:
    """A bomb that declares little: the directory says 10 bytes."""
    data = bytearray(pack({**files, "model.keras": bytes(2**27)}, zipfile.ZIP_DEFLATED))
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(b"model.keras"))
    struct.pack_into("<L", data, at + 24, 10)
    return bytes(data)


def bomb(files: Files) -> bytes:
    return pack({**files, "model.keras": bytes(2**28)}, zipfile.ZIP_DEFLATED)


ARCHIVES: dict[str, tuple[Callable[[Files], bytes], str]] = {
    "empty": (lambda _: b"", "cannot be read"),
    "a tar": (lambda _: b"x" * 257 + b"ustar" + b"\0" * 500, "cannot be read"),
    "cut short": (lambda files: pack(files)[:-30], "cannot be read"),
    "a bit flipped": (lambda files: pack(files).replace(b"not opened", b"not 0pened"), "cannot be read"),
    "two of a name": (twice, "several files of one name"),
    "a bomb": (bomb, "unpacks to more than"),
    "a bomb that hides": (growing, "cannot be read|not the file"),
    "a link": (
        with_entry("model.keras", external_attr=(stat.S_IFLNK | 0o777) << 16),
        "is a link or a device",
    ),
    "a device": (
        with_entry("model.keras", external_attr=(stat.S_IFCHR | 0o666) << 16),
        "is a link or a device",
    ),
    "another method": (with_entry("model.keras", compress_type=zipfile.ZIP_LZMA), "compressed by method 14"),
    "encrypted": (
        lambda files: pack(files).replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0"),
        "is encrypted",
    ),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_could_do_harm_is_refused(files: Files, tmp_path: Path, name: str) -> None:
    make, message = ARCHIVES[name]
    (tmp_path / "bad.zip").write_bytes(make(files))
    detail = said(tmp_path / "bad.zip")
    assert any(part in detail for part in message.split("|")), detail


def test_a_model_of_the_first_release_is_taken(files: Files, tmp_path: Path) -> None:
    """Its manifest has none of the later sections."""
    later = ("input", "runtimes", "outputs", "class_map", "origin", "evaluation_dataset_digest")
    (tmp_path / "old.zip").write_bytes(pack(with_manifest(**dict.fromkeys(later, ...))(files)))
    assert unpack_archive(tmp_path / "old.zip", tmp_path / "old").manifest.input is None


def test_a_model_that_was_imported_before_names_where_it_came_from(files: Files, tmp_path: Path) -> None:
    origin = asdict(Origin("a" * 64, "mdl_0", "nuts", 1))
    (tmp_path / "new.zip").write_bytes(pack(with_manifest(origin=origin)(files)))
    received = unpack_archive(tmp_path / "new.zip", tmp_path / "new")
    assert received.manifest.origin == Origin("a" * 64, "mdl_0", "nuts", 1)
