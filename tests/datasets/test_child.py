from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from app.child import ExitCode
from tests.waiting import wait_for

CHILD = [sys.executable, "-m", "app.datasets"]


class Child:
    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "run"
        self.folder.mkdir()

    def start(self, **spec: Any) -> subprocess.Popen[bytes]:
        content = {"image_root": str(self.root / "images"), **spec}
        (self.folder / "spec.json").write_text(json.dumps(content, default=str))
        return subprocess.Popen([*CHILD, str(self.folder)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def run(self, **spec: Any) -> int:
        with self.start(**spec) as process:
            return process.wait()

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "progress.jsonl").read_text().splitlines()]


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(tmp_path)


def test_a_child_imports_and_exports(
    child: Child, write_zip: Any, two_classes: dict[str, bytes], tmp_path: Path
) -> None:
    source = write_zip({**two_classes, "cat/notes.txt": b"text"})
    limits = {"max_entries": 100, "max_total_bytes": 10**6}
    assert child.run(kind="import", source=source, out=tmp_path / "dataset", limits=limits) == 0
    result = child.read("result.json")
    assert result["items"] == 8
    assert result["skipped"] == 1
    assert result["warnings"]
    assert {path.name for path in (tmp_path / "dataset").iterdir()} == {"manifest.json", "report.json"}
    assert child.lines[0] | {"time": 0} == {"kind": "stage", "stage": "preparing", "time": 0}
    last = child.lines[-1]
    assert (last["kind"], last["done"], last["total"], last["fraction"]) == ("progress", 9, 9, 1.0)

    manifest = json.loads((tmp_path / "dataset/manifest.json").read_text())
    split = {item["id"]: "train" for item in manifest["items"][:5]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    export = {"kind": "export", "dataset": tmp_path / "dataset", "split": tmp_path / "split.json"}
    assert child.run(**export, format="folders", out=tmp_path / "a.tar") == 0
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert len(archive.getnames()) == 5
    size = {"image_size": [8, 8], "compression": "gzip"}
    assert child.run(**export, **size, format="tfrecord", out=tmp_path / "b.tar") == 0
    with tarfile.open(tmp_path / "b.tar") as archive:
        assert archive.getnames() == ["labels.txt", "train/records-00000-of-00001.tfrecord.gz"]


def test_a_child_that_fails_leaves_the_error_and_nothing_else(
    child: Child, write_zip: Any, two_classes: dict[str, bytes], tmp_path: Path
) -> None:
    source = write_zip({**two_classes, "../escape.png": b"x"})
    assert child.run(kind="import", source=source, out=tmp_path / "dataset") == ExitCode.FAILED
    error = child.read("error.json")
    assert error["code"] == "unsafe_archive"
    assert "../escape.png" in error["detail"]
    assert error["hint"]
    assert {path.name for path in child.folder.iterdir()} == {"spec.json", "progress.jsonl", "error.json"}
    assert not (tmp_path / "dataset").exists()


def test_a_child_that_is_told_to_stop_leaves_at_once_and_cleanly(
    child: Child, write_tar: Any, picture: Any, tmp_path: Path
) -> None:
    content = picture(0, "PNG", (1000, 1000))
    source = write_tar({f"{label}/{number}.png": content for label in ("cat", "dog") for number in range(20)})
    process = child.start(kind="import", source=source, out=tmp_path / "dataset")
    with process:
        third = child.folder / "unpacked/00000002"
        wait_for(third.exists, 60, "the third file", alive=lambda: process.poll() is None, every=0.005)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == ExitCode.RELEASED
    assert {path.name for path in child.folder.iterdir()} == {"spec.json", "progress.jsonl"}
    assert not (tmp_path / "dataset").exists()
