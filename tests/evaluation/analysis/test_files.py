"""The tables of an analysis: what a table of predictions says is what they give back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.datasets.manifest import Item
from app.evaluation.analysis.files import (
    Answer,
    Pictured,
    open_answers,
    read_answers,
    read_predictions,
    write_answers,
)
from app.evaluation.replay import _write_predictions

NAMES = st.text(
    st.one_of(st.sampled_from(",\"'=+@-\n\r\t "), st.characters(codec="utf-8", exclude_characters="\0")),
    min_size=1,
    max_size=12,
).filter(lambda name: not name.startswith("'"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, min_size=1, max_size=5), st.lists(NAMES, min_size=2, max_size=3, unique=True))
def test_names_and_labels_come_back_as_they_were(
    tmp_path: Path, names: list[str], classes: list[str]
) -> None:
    items = [
        Item(f"img_{index}", name, classes[index % len(classes)], None, 1, 1, "png", "s", 1)
        for index, name in enumerate(names)
    ]
    probabilities = np.full((len(items), len(classes)), 1 / len(classes), np.float32)
    _write_predictions(tmp_path / "predictions.csv", items, probabilities, classes)
    read = list(read_predictions(tmp_path / "predictions.csv", classes))
    assert read == [Pictured(item.id, item.name, item.label) for item in items]


def test_a_label_that_begins_with_an_apostrophe_is_found(tmp_path: Path) -> None:
    item = Item("img_0", "x.png", "'=1+1", None, 1, 1, "png", "s", 1)
    probabilities = np.full((1, 2), 0.5, np.float32)
    _write_predictions(tmp_path / "predictions.csv", [item], probabilities, ["'=1+1", "b"])
    assert [each.label for each in read_predictions(tmp_path / "predictions.csv", ["'=1+1", "b"])] == [
        "'=1+1"
    ]


def test_answers_come_surest_first_with_their_names(tmp_path: Path) -> None:
    pictured = [Pictured(f"img_{index}", f"ä{index}\n.png", "") for index in range(4)]
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.9, 0.1], [0.5, 0.5]], np.float32)
    labels, predicted = np.array([1, 1, 2, 0]), np.array([0, 1, 0, 0])
    write_answers(tmp_path, pictured, labels, predicted, probabilities)
    rows = open_answers(tmp_path)
    found = read_answers(tmp_path, rows)
    assert [answer.item for answer in found] == ["img_1", "img_2", "img_0", "img_3"]
    sure, tie, half = np.float32(0.9), np.float32(0.6), np.float32(0.4)
    assert found[:3] == [
        Answer("img_1", "ä1\n.png", 1, 1, float(sure), float(sure)),
        Answer("img_2", "ä2\n.png", 2, 0, float(sure), 0.0),
        Answer("img_0", "ä0\n.png", 1, 0, float(tie), float(half)),
    ]
    assert read_answers(tmp_path, rows[[3]])[0].name == "ä3\n.png"
