"""``loupe watch`` killed, and started again: each image has one row, and is in one place."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from tests.cli.conftest import Server
from tests.cli.watching import Labeller, files_below, read_rows, watching

IMAGES = {f"{index:02d}.png": f"class{index % 3}" for index in range(20)}
KILLS = {
    "answered": ("watch.answered", "kill"),
    "between two requests": ("watch.answered", "skip\nkill"),
    "in a row": ("watch.writing", "skip\nskip\nkill"),
    "in the head": ("watch.writing", "kill"),
    "before the row is on the disk": ("watch.writing", "skip\nskip\nskip\nkill"),
    "between row and move": ("watch.recorded", "kill"),
    "copied aside": ("watch.copied", "skip\nkill"),
    "copied and still in its place": ("watch.placed", "skip\nkill"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, label in IMAGES.items():
        (folder / name).write_text(f"{label} {name}")
    return folder


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("needs a second file system")
    made = Path(tempfile.mkdtemp(dir=memory))
    yield made
    shutil.rmtree(made)


def _require_each_once(labeller: Labeller, rows: Path, folder: Path, moved: Path) -> None:
    assert sorted(row["name"] for row in read_rows(rows)) == sorted(IMAGES)
    assert not files_below(folder)
    contents = Counter(content.decode() for content in files_below(moved).values())
    assert contents == {f"{label} {name}": 1 for name, label in IMAGES.items()}
    assert set(labeller.answered) == set(contents)


@pytest.mark.parametrize(("kill", "ending"), list(zip(KILLS, cycle(("jsonl", "csv")), strict=False)))
def test_a_kill_at_any_point_costs_no_image_and_doubles_none(
    server: Server, folder: Path, elsewhere: Path, kill: str, ending: str
) -> None:
    server.answer = labeller = Labeller()
    place, actions = KILLS[kill]
    points = folder.parent / "failpoints"
    points.mkdir()
    (points / place).write_text(f"{actions}\n")
    rows = folder.parent / f"rows.{ending}"
    options = ("--once", "--settle", 0, "--out", rows, "--move-to", elsewhere)

    ends = []
    for environment in ({"LOUPE_FAILPOINTS": str(points)}, {}):
        with watching(server, folder, *options, **environment) as process:
            said, _ = process.communicate(timeout=60)
            ends.append(process.returncode)

    assert ends == [-9, 0], said
    _require_each_once(labeller, rows, folder, elsewhere)
    if kill == "in a row":
        assert "The last row of" in said


def test_kills_at_any_time_cost_no_image_and_double_none(server: Server, folder: Path) -> None:
    labeller = Labeller()

    def answer_slowly(request: object) -> object:
        time.sleep(0.02)
        return labeller(request)  # type: ignore[arg-type]

    server.answer = answer_slowly  # type: ignore[assignment]
    rows, moved = folder.parent / "rows.csv", folder / "sorted"
    options = ("--settle", 0, "--every", 0.1, "--out", rows, "--move-to", moved)
    chance = random.Random(7)
    for _ in range(4):
        with watching(server, folder, *options) as process:
            time.sleep(0.5 + 0.5 * chance.random())
            process.kill()
    with watching(server, folder, "--once", *options) as process:
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 0, said
    shutil.move(moved, folder.parent / "moved")
    _require_each_once(labeller, rows, folder, folder.parent / "moved")
