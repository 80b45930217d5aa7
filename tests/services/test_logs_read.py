"""Logs are read a piece at a time, whole lines only, each once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.services import job_records
from app.services.job_records import FollowedLog, read_log

Write = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Appends to the log of an attempt."""

    def append(attempt: str, text: bytes) -> Path:
        path = tmp_path / attempt / "training_result.log"
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(text)
        return path

    return append


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_records, "MOST_READ", 8)


def read_all(log: FollowedLog, path: Path) -> bytes:
    found = log.read(path)
    while log.has_more:
        found += log.read(path)
    return found


@pytest.mark.usefixtures("small_pieces")
def test_a_growing_log_comes_in_whole_lines_each_once(write: Write) -> None:
    log = FollowedLog(None)
    assert log.read(Path("nowhere.log")) == b""
    path = write("1", b"one\ntwo\nthr")
    assert read_all(log, path) == b"one\ntwo\n"
    assert read_all(log, path) == b""
    write("1", b"ee\n" + b"a line that is longer than a piece\n")
    assert read_all(log, path) == b"three\na line that is longer than a piece\n"


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("tail", "expected"), [(1, b"3\n"), (2, b"2\n3\n"), (9, b"1\n2\n3\n")])
def test_a_followed_log_begins_with_its_last_lines(write: Write, tail: int, expected: bytes) -> None:
    assert read_all(FollowedLog(tail), write("1", b"1\n2\n3\n4")) == expected


@pytest.mark.usefixtures("small_pieces")
def test_a_new_attempt_goes_on_where_the_one_before_ended(write: Write) -> None:
    log = FollowedLog(None)
    assert read_all(log, write("1", b"1\n2\n3\n")) == b"1\n2\n3\n"
    second = write("2", b"1\n2\n")
    assert read_all(log, second) == b""
    assert read_all(log, write("2", b"3\n4\n")) == b"4\n"


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("tail", "expected"),
    [(None, b"first\nsecond\nthird\nfo"), (1, b"fo"), (2, b"third\nfo"), (99, b"first\nsecond\nthird\nfo")],
)
def test_the_end_of_a_log_is_found_without_holding_it(
    write: Write, tail: int | None, expected: bytes
) -> None:
    path = write("1", b"first\nsecond\nthird\nfo")
    assert b"".join(read_log(path, tail)) == expected


def test_no_log_is_an_empty_one(tmp_path: Path, write: Write) -> None:
    assert b"".join(read_log(tmp_path / "none", 5)) == b""
    assert b"".join(read_log(write("1", b""), 5)) == b""


def test_a_log_that_grows_while_it_is_read_ends_where_it_ended(write: Write) -> None:
    path = write("1", b"x" * 3 * job_records.MOST_READ)
    pieces = read_log(path, None)
    first = next(pieces)
    write("1", b"more")
    assert len(first) + sum(map(len, pieces)) == 3 * job_records.MOST_READ
