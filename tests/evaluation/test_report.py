"""The report that a person reads."""

from __future__ import annotations

import numpy as np
import pytest

from app.evaluation.metrics import evaluate_predictions, measure_shared_groups
from app.evaluation.mistakes import list_mistakes
from app.evaluation.report import format_report


def report(labels: list[int], predicted: list[int], classes: list[str], name: str = "{}.png") -> str:
    probabilities = np.full((len(labels), len(classes)), 0.1 / (len(classes) - 1), np.float32)
    probabilities[np.arange(len(labels)), predicted] = 0.9
    items = [(f"i{index}", name.format(index)) for index in range(len(labels))]
    evaluation = evaluate_predictions(np.array(labels), probabilities, classes)
    return format_report(evaluation, list_mistakes(items, np.array(labels), probabilities, classes), "test")


def test_accuracy_and_loss_come_first() -> None:
    first = report([0, 0, 1, 1], [0, 0, 1, 0], ["cat", "dog"]).splitlines()[0]
    assert first.startswith("test accuracy: 0.75000 (95 % interval 0.30064 to 0.95441), 3 of 4 images")
    assert f"test loss: {-(3 * np.log(0.9) + np.log(0.1)) / 4:.5f}" in first


def test_it_has_a_line_for_each_class_the_matrix_and_the_wrong_pictures() -> None:
    lines = report([0, 0, 1, 1], [0, 0, 1, 0], ["cat", "dog", "empty"]).splitlines()
    assert "cat       0.6667  1.0000  0.8000       2" in lines
    assert "empty          -       -       -       0" in lines
    assert "1  dog    1  1  0" in lines
    assert lines[-1] == "0.9000       dog   cat        i3    3.png"


def test_many_classes_give_the_largest_confusions_instead_of_a_matrix() -> None:
    classes = [f"class {index}" for index in range(40)]
    text = report([0, 1, 2, 2, 3], [0, 0, 3, 3, 3], classes)
    assert "Most frequent confusions (2 of 2)" in text
    assert text.index("class 2  class 3         2") < text.index("class 1  class 0         1")
    assert "Confusion matrix" not in text


def test_nothing_wrong_is_said_in_words() -> None:
    assert report([0, 1], [0, 1], ["a", "b"]).endswith("No image was answered wrongly.\n")


def test_a_name_cannot_send_control_characters_to_a_terminal() -> None:
    text = report([0, 1], [1, 1], ["a", "b"], name="\x1b[2J{}\nfake line é\udcff.png")
    assert r"\x1b[2J0\nfake line é\udcff.png" in text


@pytest.mark.parametrize(("are_counted", "said"), [(True, "counted above"), (False, "not counted above")])
def test_images_of_groups_that_were_trained_on_are_told_apart(are_counted: bool, said: str) -> None:
    labels, probabilities = np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    evaluation = evaluate_predictions(labels, probabilities, ["cat", "dog"])
    shared = measure_shared_groups(labels, probabilities, are_counted=are_counted)
    text = format_report(evaluation, [], "test", shared)
    assert f"\ntest images that share a group with train or valid: 2, {said}, accuracy on them: 0.5" in text
