"""docs/tutorial.md as a newcomer types it: two terminals, a whole Loupe, images of one's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs.generate import ROOT
from tests.pictures import make_files, make_picture, write_folder
from tests.ports import free_port
from tests.running import TINY
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

# What is not typed as it stands there: `make setup`, since the tests run in what it made, and the network.
NOT_TYPED = "make setup"
TINY_NETWORK = " ".join(["--network tiny_cnn", *(f"--set {name}={value}" for name, value in TINY.items())])
LINEAR = "loupe train steel --method linear"
QUICKER = {
    f"{LINEAR} --follow": f"{LINEAR} --image-size 32 --follow",
    "loupe train steel": f"loupe train steel {TINY_NETWORK}",
    "loupe train steel --forecast": f"loupe train steel {TINY_NETWORK} --forecast",
}
STARTS_LOUPE = "loupe up\n"


class Terminal:
    """A shell that is typed into, line after line."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )

    def type(self, line: str) -> str:
        """Runs a line, which must succeed, to its end; returns what it wrote."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{line} </dev/null\nprintf '\\n@@%s\\n' $?\n")
        self.process.stdin.flush()
        written = ""
        for row in self.process.stdout:
            if row.startswith("@@"):
                assert row == "@@0\n", f"{line}\n{written}"
                return written
            written += row
        raise AssertionError(f"the shell ended in {line!r}:\n{written}")

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A newcomer's home folder, with images as the page lays them out."""
    write_folder(tmp_path / "images/steel", make_files())
    (tmp_path / "images/new.jpg").write_bytes(make_picture("red", 99, image_format="JPEG"))
    return tmp_path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "LOUPE_PORT": str(free_port()),
        "LOUPE_EXAMINE_IMPORTS": "false",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


@pytest.fixture
def second(environment: dict[str, str]) -> Iterator[Terminal]:
    terminal = Terminal(environment)
    yield terminal
    terminal.close()


@contextmanager
def _first_terminal(environment: dict[str, str], log: Path) -> Iterator[None]:
    """`loupe up` in a terminal of its own, until the block ends."""
    with log.open("wb") as out:
        up = subprocess.Popen(
            ["bash", "-c", f"exec {STARTS_LOUPE}"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
    try:
        wait_for(lambda: "Loupe is ready" in log.read_text(), 90, "Loupe", alive=lambda: up.poll() is None)
        yield
    finally:
        up.terminate()
        up.wait(60)


def _type(terminal: Terminal, lines: list[str]) -> dict[str, str]:
    """Types line after line; an id that was printed last stands in for `dst_…` and its like."""
    ids: dict[str, str] = {}
    answers = {}
    for line in lines:
        command = QUICKER.get(line, line)
        for kind, known in ids.items():
            command = command.replace(f"{kind}_…", known)
        answers[line] = terminal.type(command)
        ids |= {found[:3]: found for found in re.findall(r"\b(?:dst|job|mdl)_[0-9a-z]{26}\b", answers[line])}
    return answers


def test_the_tutorial_works_word_for_word(home: Path, environment: dict[str, str], second: Terminal) -> None:
    page = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    page = page.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{environment['LOUPE_PORT']}")
    (ask,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (home / "images/ask.py").write_text(ask, encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert blocks.count(STARTS_LOUPE) == 1
    lines = [line for block in blocks if block != STARTS_LOUPE for line in block.splitlines()]
    assert lines.pop(0) == NOT_TYPED

    with _first_terminal(environment, home / "up.log"):
        answers = _type(second, lines)

    assert set(QUICKER) <= set(answers)
    assert (home / "images/report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert '"top":{"label":"red"' in answers[next(line for line in answers if line.startswith("curl"))]
    assert answers["python ask.py"].split()[0] == "red"
    assert "champion" in answers["loupe leaderboard steel"]
