"""Results that are appended to, saved, and gone on with: the same bytes as without a break."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.batches.files import RESULTS, SKIPPED
from app.batches.results import POSITION, DamagedStateError, Results, find_saved
from app.batches.spec import SkippedFile
from app.schemas.batch_prediction import BatchLine


def outcomes(count: int) -> list[BatchLine | SkippedFile]:
    return [
        SkippedFile(name=f"{number}.txt", reason="text")
        if number % 3 == 0
        else BatchLine(name=f"{number}.png", sha256="a" * 64, label="red", probability=0.1, model="mdl_1")
        for number in range(count)
    ]


Begin = Callable[..., Results]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    with ExitStack() as stack:

        def begin(name: str, identity: str = "mdl_1", seconds: float = 60.0) -> Results:
            (tmp_path / name).mkdir()
            results = Results(tmp_path / name, tmp_path / f"{name}-saved", identity, seconds)
            return stack.enter_context(results)

        yield begin


def test_a_later_attempt_goes_on_and_ends_with_the_same_bytes(begin: Begin, tmp_path: Path) -> None:
    whole, first = (begin(name) for name in ("whole", "first"))
    for outcome in outcomes(20):
        whole.add(outcome)
    for outcome in outcomes(12):
        first.add(outcome)
    folder, digest = first.save()
    assert digest == hashlib.sha256((folder / RESULTS).read_bytes()).hexdigest()
    for outcome in outcomes(15)[12:]:
        first.add(outcome)  # lost with its process
    second = begin("second")
    second.go_on_from(folder)
    assert second.entries == 12
    for outcome in outcomes(20)[12:]:
        second.add(outcome)
    assert second.finish() == whole.finish()
    assert (second.images, second.errors, second.skipped) == (13, 0, 7)
    for name in (RESULTS, SKIPPED):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", [RESULTS, SKIPPED, POSITION])
@pytest.mark.parametrize("damage", ["cut", "missing", "other"])
def test_what_is_not_as_it_was_saved_is_not_gone_on_with(
    begin: Begin, tmp_path: Path, name: str, damage: str
) -> None:
    first = begin("first")
    for outcome in outcomes(9):
        first.add(outcome)
    folder, _ = first.save()
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage != "missing":
        (folder / name).write_bytes(data[:-5] if damage == "cut" else data.replace(b"e", b"f"))
    second = begin("second")
    with pytest.raises(DamagedStateError):
        second.go_on_from(folder)
    assert second.entries == 0
    second.add(outcomes(2)[1])
    second.finish()
    assert (tmp_path / "second" / RESULTS).read_bytes().count(b"\n") == 1


def test_results_of_another_model_are_not_gone_on_with(begin: Begin) -> None:
    folder, _ = begin("first").save()
    with pytest.raises(DamagedStateError, match="another model"):
        begin("second", identity="mdl_2").go_on_from(folder)


def test_two_states_are_kept_and_the_newest_is_tried_first(begin: Begin, tmp_path: Path) -> None:
    results = begin("first")
    saved = [results.save()[0] for _ in range(4)]
    assert list(find_saved([tmp_path / "none", tmp_path / "first-saved"])) == [saved[3], saved[2]]


def test_it_is_time_to_save_after_so_many_seconds(begin: Begin) -> None:
    assert not begin("patient").is_due()
    assert begin("hasty", seconds=1e-9).is_due()
