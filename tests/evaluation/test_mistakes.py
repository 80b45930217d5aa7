"""The list of wrong images."""

from __future__ import annotations

import numpy as np

from app.evaluation.mistakes import list_mistakes
from app.evaluation.spec import Mistake


def test_wrong_pictures_come_by_falling_confidence_then_in_the_order_given() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]], np.float32)
    items = [(f"i{index}", f"{index}.png") for index in range(5)]
    mistakes = list_mistakes(items, np.array([1, 0, 0, 0, 1]), probabilities, ("cat", "dog"))
    assert [mistake.item for mistake in mistakes] == ["i2", "i0", "i3"]
    assert mistakes[0] == Mistake(
        item="i2", name="2.png", true="cat", predicted="dog", probability=float(np.float32(0.8))
    )


def test_no_wrong_picture_is_an_empty_list() -> None:
    assert list_mistakes([("i", "n")], np.array([1]), np.array([[0, 1]], np.float32), ("a", "b")) == []
