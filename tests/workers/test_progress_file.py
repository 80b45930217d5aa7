"""Progress lines are read once each, whole, and again until they are stored."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app.schemas.progress_lines import WarningLine
from app.workers.progress_file import ProgressFile


def warning(number: int) -> WarningLine:
    return WarningLine(time=0.0, message=f"number {number}")


def text(*numbers: int) -> str:
    return "".join(warning(number).model_dump_json() + "\n" for number in numbers)


def test_lines_are_read_again_until_they_are_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    progress = ProgressFile(path)
    assert (progress.read(), progress.size()) == ([], 0)
    path.write_text(text(1, 2) + text(3)[:7])
    assert progress.read() == progress.read() == [warning(1), warning(2)]
    progress.confirm()
    assert progress.read() == []
    with path.open("a") as file:
        file.write(text(3)[7:])
    assert progress.read() == [warning(3)]
    assert progress.size() == path.stat().st_size


def test_a_line_that_a_full_disk_cut_short_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text(text(1) + text(2)[:7] + text(2, 3))
    assert ProgressFile(path).read() == [warning(1), warning(3)]


def test_a_line_of_a_newer_version_is_logged_and_its_unknown_keys_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text(
        '{"kind": "dream", "time": 1}\n{"kind": "warning", "time": 1, "message": "hot", "degrees": 90}\n'
    )
    with caplog.at_level(logging.WARNING):
        (line,) = ProgressFile(path).read()
    assert line.as_event() == {"message": "hot", "degrees": 90}
    assert "dream" in caplog.text
