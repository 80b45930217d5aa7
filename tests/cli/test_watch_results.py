from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from app.cli.client import CommandError
from app.cli.watch_results import Results

ENDINGS = ["csv", "jsonl"]


def _row(key: str, label: str | None = "cat") -> dict[str, Any]:
    predictions = [{"label": label, "index": 0, "probability": 0.5}] if label else []
    return {
        "name": f"{key}.png",
        "sha256": "a" * 64,
        "label": label,
        "predictions": predictions,
        "error": None if label else {"detail": "no image"},
        "model": "mdl_1",
        "predicted_at": "2026-01-02T03:04:05.678Z",
        "modified_at": "2026-01-02T03:04:05.678Z",
        "bytes": 1,
        "key": key,
    }


def _written(path: Path, *rows: dict[str, Any]) -> Path:
    results = Results(path, 1)
    for row in rows:
        results.append([row])
    results.close()
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_written_is_known_to_the_next(tmp_path: Path, ending: str) -> None:
    labels = ["cat", None, "=1+1", "'quoted", "with, comma", "line\nbreak", "日本"]
    path = _written(tmp_path / f"a.{ending}", *(_row(str(n), label) for n, label in enumerate(labels)))

    known = list(Results(path, 1).destinations.values())

    assert known == [label.replace("\n", "\\n") if label and ending == "csv" else label for label in labels]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_cut_off_anywhere_loses_its_last_row_alone(tmp_path: Path, ending: str) -> None:
    whole = _written(tmp_path / f"whole.{ending}", _row("a", "first\nlabel"), _row("b")).read_bytes()
    lines = whole.splitlines(keepends=True)
    for end in range(len(whole) + 1):
        cut = tmp_path / f"cut.{ending}"
        cut.write_bytes(whole[:end])
        results = Results(cut, 1)
        missing = [
            row for row in (_row("a", "first\nlabel"), _row("b")) if row["key"] not in results.destinations
        ]
        assert len(missing) == sum(end < len(b"".join(lines[: n + 1])) for n in range(len(lines))[-2:])
        results.append(missing)
        results.close()
        assert cut.read_bytes() == whole


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_line_that_is_none_of_ours_is_named(tmp_path: Path, ending: str) -> None:
    path = _written(tmp_path / f"a.{ending}", _row("a"))
    number = path.read_bytes().count(b"\n") + 1
    for line in (b"what is this\n", b"\0\0\0\n", b"\xff\n", b"[1]\n"):
        before = path.read_bytes()
        path.write_bytes(before + line)
        with pytest.raises(CommandError, match=f"Line {number} of "):
            Results(path, 1)
        path.write_bytes(before)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.csv", _row("a"))

    with pytest.raises(CommandError, match="other columns") as raised:
        Results(path, 2)
    assert "--top-k" in str(raised.value.hint)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_no_half_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    path = _written(tmp_path / f"a.{ending}", _row("a"))
    before, write = path.read_bytes(), os.write

    def write_half(descriptor: int, content: bytes) -> int:
        write(descriptor, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    results = Results(path, 1)
    monkeypatch.setattr(os, "write", write_half)
    with pytest.raises(CommandError, match="No space left"):
        results.append([_row("b")])

    assert path.read_bytes() == before
    assert "b" not in results.destinations


def test_rows_are_not_written_into_a_file_that_was_moved_away(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.csv", _row("a"))
    results = Results(path, 1)
    path.rename(tmp_path / "rotated.csv")

    with pytest.raises(CommandError, match="moved or deleted"):
        results.append([_row("b")])
    path.write_bytes(b"")
    with pytest.raises(CommandError, match="moved or deleted"):
        results.append([_row("b")])
