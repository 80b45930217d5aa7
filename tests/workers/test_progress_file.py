"""Progress lines are read once each, whole, and again until they are stored."""

from __future__ import annotations

from pathlib import Path

from app.workers.progress_file import ProgressFile


def test_lines_are_read_again_until_they_are_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    progress = ProgressFile(path)
    assert (progress.read(), progress.size()) == ([], 0)
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert progress.read() == progress.read() == [{"step": 1}, {"step": 2}]
    progress.confirm()
    assert progress.read() == []
    with path.open("a") as file:
        file.write('ep": 3}\n')
    assert progress.read() == [{"step": 3}]
    assert progress.size() == path.stat().st_size


def test_a_line_that_a_full_disk_cut_short_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text('{"step": 1}\n{"st{"step": 2}\n{"step": 3}\n')
    assert ProgressFile(path).read() == [{"step": 1}, {"step": 3}]
