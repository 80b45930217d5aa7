from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from app.cli.follow import describe_epoch
from app.cli.reports import (
    WIDEST_MATRIX,
    note_next,
    show_evaluation,
    show_import_report,
    summarise_import,
)
from app.evaluation.metrics import evaluate_predictions


def _evaluation(classes: list[str], *, wrong: int = 0) -> dict[str, object]:
    """Ten images of each class; ``wrong`` of the first class are answered with the second."""
    labels = np.repeat(np.arange(len(classes)), 10)
    predicted = labels.copy()
    predicted[:wrong] = 1
    probabilities = np.full((len(labels), len(classes)), 0.1 / (len(classes) - 1), np.float32)
    probabilities[np.arange(len(labels)), predicted] = 0.9
    return {"subset": "test", **asdict(evaluate_predictions(labels, probabilities, classes))}


def test_an_evaluation_shows_the_interval_the_classes_and_the_matrix(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_evaluation(_evaluation(["good", "scratch"], wrong=3))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "test accuracy      0.8500 (95 % interval 0.6396 to 0.9476), 20 images"
    assert ["good", "1.0000", "0.7000", "0.8235", "10"] in [line.split() for line in lines]
    assert lines[-3].split() == ["true", "\\", "predicted", "good", "scratch"]
    assert lines[-2].split() == ["good", "7", "3"]
    assert lines[-1].split() == ["scratch", "·", "10"]


def test_long_names_become_numbers_above_the_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluation(_evaluation([f"a rather long name of class {index}" for index in range(4)]))

    lines = capsys.readouterr().out.splitlines()
    assert lines[-5].split()[-4:] == ["0", "1", "2", "3"]
    assert lines[-1].startswith("3 a rather long name of class 3")


def test_of_very_many_classes_the_confusions_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluation(_evaluation([f"c{index}" for index in range(WIDEST_MATRIX + 1)], wrong=4))

    assert capsys.readouterr().out.splitlines()[-1].split() == ["c0", "c1", "4"]


def test_names_from_outside_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluation(_evaluation(["\x1b[31mred\nrow", "[bold]plain[/bold]"]))

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\nrow" in out
    assert "[bold]plain[/bold]" in out


def test_an_import_names_what_was_left_out_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    side = {"min": 8, "median": 9, "max": 12}
    entry = {"name": "good", "count": 7, "splits": None, "width": side, "height": side, "bytes": 2048}
    report = {
        "classes": [{**entry, "formats": {"png": 5, "jpeg": 2}}],
        "corrupt": [{"name": "good/x.png", "reason": "it is cut off"}],
        "skipped": [],
        "totals": {"corrupt": 12, "skipped": 0},
        "advice": ["Add images."],
    }
    show_import_report(report)

    out = capsys.readouterr().out
    assert "good 7 8–12 8–12 2.0 KiB png 5, jpeg 2" in " ".join(out.split())
    assert "12 could not be decoded" in out
    assert "good/x.png: it is cut off" in out
    assert "and 11 more" not in out
    assert "advice: Add images." in out


def test_an_import_is_summed_up_in_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    classes = [{"name": "good", "count": 1200}, {"name": "scratch", "count": 3}]
    dataset = {"id": "dst_1", "items": 1203, "skipped": 2, "classes": classes}
    summarise_import({**dataset, "counts": {"train": 1000, "valid": 103, "test": 100}}, {"advice": []})

    assert capsys.readouterr().out.splitlines() == [
        "dst_1: 1,203 images in 2 classes, 2 files left out",
        "  good 1,200, scratch 3",
        "  came split: train 1,000, valid 103, test 100",
    ]


def test_an_epoch_without_validation_has_no_validation_scores() -> None:
    scores = {"loss": 0.5, "accuracy": 0.75}
    epoch = {"epoch": 3, "train": scores, "valid": None, "best": False, "seconds": 61.0}

    assert describe_epoch(epoch, 20).plain == "epoch  3/20  train loss 0.5000 accuracy 0.7500  1 min 1 s"
    assert describe_epoch({**epoch, "valid": scores, "best": True}, None).plain.endswith(
        "valid loss 0.5000 accuracy 0.7500  1 min 1 s  best"
    )


@pytest.mark.parametrize("refused", [None, "too few in dog"])
def test_a_training_that_would_be_refused_is_not_what_comes_next(
    capsys: pytest.CaptureFixture[str], refused: str | None
) -> None:
    note_next({"id": "dst_1"}, {"training_refused": refused}, "loupe train p --follow")
    said = capsys.readouterr()
    assert ("loupe train p" in said.out + said.err) == (refused is None)
    assert ("loupe dataset edit dst_1" in said.out + said.err) == (refused is not None)


def test_the_images_that_the_advice_counts_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    lists: dict[str, list[Any]] = {
        "duplicates": [["a/1.png", "a/2.png"]],
        "conflicting_labels": [{"sha256": "0", "names": ["a/3.png", "b/3.png"], "labels": ["a", "b"]}],
        "across_splits": [["train/a/4.png", "test/a/4.png"]],
        "wrong_extensions": [{"name": "a/5.png", "format": "jpeg"}],
    }
    totals = {name: len(entries) for name, entries in lists.items()} | {"duplicates": 12}

    show_import_report({"classes": [], "advice": [], **lists, "totals": totals})

    shown = capsys.readouterr().out
    for said in (
        "a/1.png, a/2.png",
        "and 2 more",
        "a/3.png, b/3.png: labelled a and b",
        "train/a/4.png, test/a/4.png",
        "a/5.png is a jpeg",
    ):
        assert said in shown
