"""Every number of an evaluation: by hand, against scikit-learn, and at the edges."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from app.evaluation.figures import Evaluation
from app.evaluation.metrics import evaluate_predictions

CLASSES = ("a", "b", "c")


def sure_of(predicted: list[int], classes: int = 3, confidence: float = 0.8) -> NDArray[np.float32]:
    """Probabilities whose largest is ``confidence`` at each given index."""
    rows = np.full((len(predicted), classes), (1 - confidence) / (classes - 1), np.float32)
    rows[np.arange(len(predicted)), predicted] = confidence
    return rows


def evaluate(labels: list[int], predicted: list[int]) -> Evaluation:
    return evaluate_predictions(np.array(labels), sure_of(predicted), CLASSES)


@pytest.fixture(scope="module")
def random_case() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    generator = np.random.default_rng(3)
    labels = generator.choice(7, size=400, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.06, 0.04])
    logits = generator.normal(size=(400, 7)) + 1.5 * np.eye(7)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities.astype(np.float32)


def test_a_case_small_enough_to_count_by_hand() -> None:
    evaluation = evaluate([0, 0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2, 2, 2])
    assert evaluation.items == 8
    assert evaluation.confusion_matrix.counts == ((3, 1, 0), (0, 1, 1), (0, 0, 2))
    assert evaluation.metrics.accuracy.value == 6 / 8
    assert [score.recall for score in evaluation.classes] == [3 / 4, 1 / 2, 1]
    assert [score.precision for score in evaluation.classes] == [1, 1 / 2, pytest.approx(2 / 3)]
    assert [score.f1 for score in evaluation.classes] == pytest.approx([6 / 7, 1 / 2, 4 / 5])
    assert [score.support for score in evaluation.classes] == [4, 2, 2]
    assert evaluation.metrics.balanced_accuracy.value == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert evaluation.metrics.macro_f1.value == pytest.approx((6 / 7 + 1 / 2 + 4 / 5) / 3)


def test_the_numbers_are_those_of_scikit_learn(
    random_case: tuple[NDArray[np.int64], NDArray[np.float32]],
) -> None:
    labels, probabilities = random_case
    predicted = probabilities.argmax(axis=1)
    metrics = evaluate_predictions(labels, probabilities, "abcdefg", top_k=3).metrics
    assert metrics.accuracy.value == sklearn_metrics.accuracy_score(labels, predicted)
    assert metrics.balanced_accuracy.value == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, predicted)
    )
    assert metrics.macro_f1.value == pytest.approx(
        sklearn_metrics.f1_score(labels, predicted, average="macro")
    )
    assert metrics.macro_precision.value == pytest.approx(
        sklearn_metrics.precision_score(labels, predicted, average="macro")
    )
    assert metrics.macro_recall.value == pytest.approx(
        sklearn_metrics.recall_score(labels, predicted, average="macro")
    )
    assert metrics.log_loss == pytest.approx(
        -np.log(probabilities[np.arange(400), labels].astype(float)).mean()
    )
    assert metrics.top_k.value == sklearn_metrics.top_k_accuracy_score(labels, probabilities, k=3)


def test_the_interval_of_accuracy_is_wilsons() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263 gives 0.2553 to 0.3662.
    labels = np.zeros(263, int)
    probabilities = sure_of([0] * 81 + [1] * 182)
    accuracy = evaluate_predictions(labels, probabilities, CLASSES).metrics.accuracy
    assert (round(accuracy.low or 0, 4), round(accuracy.high or 0, 4)) == (0.2553, 0.3662)


def test_intervals_of_accuracies_stay_open_when_nothing_was_wrong() -> None:
    metrics = evaluate([0] * 10 + [1] * 10 + [2] * 10, [0] * 10 + [1] * 10 + [2] * 10).metrics
    for estimate in (metrics.accuracy, metrics.balanced_accuracy):
        assert estimate.value == estimate.high == 1
        assert estimate.low is not None
        assert 0.7 < estimate.low < 0.95


def test_a_bootstrap_that_cannot_vary_gives_no_interval() -> None:
    macro_f1 = evaluate([0, 1, 2], [0, 1, 2]).metrics.macro_f1
    assert (macro_f1.value, macro_f1.low, macro_f1.high) == (1, None, None)


def test_balanced_accuracy_of_one_class_has_the_interval_of_its_accuracy() -> None:
    metrics = evaluate([0] * 20, [0] * 15 + [1] * 5).metrics
    assert metrics.balanced_accuracy == metrics.accuracy


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "macro_precision"])
def test_about_95_of_100_intervals_hold_the_true_value(name: str) -> None:
    generator = np.random.default_rng(11)
    rates = np.array([[0.85, 0.1, 0.05], [0.2, 0.7, 0.1], [0.05, 0.15, 0.8]])
    supports = np.array([100, 60, 40])
    expected = rates * supports[:, None]
    precision, recall = np.diag(expected) / expected.sum(axis=0), np.diag(rates)
    f1 = 2 * np.diag(expected) / (expected.sum(axis=0) + supports)
    truth = {"balanced_accuracy": recall, "macro_f1": f1, "macro_precision": precision}[name].mean()
    labels = np.repeat(np.arange(3), supports)
    held = 0
    for _ in range(200):
        predicted = [int(generator.choice(3, p=rates[label])) for label in labels]
        estimate = getattr(evaluate_predictions(labels, sure_of(predicted), CLASSES).metrics, name)
        held += estimate.low <= truth <= estimate.high
    assert 178 <= held <= 199


def test_the_same_answers_give_the_same_numbers_to_the_last_bit(
    random_case: tuple[NDArray[np.int64], NDArray[np.float32]],
) -> None:
    assert evaluate_predictions(*random_case, "abcdefg") == evaluate_predictions(*random_case, "abcdefg")


def test_a_class_without_pictures_has_no_scores_and_does_not_enter_the_averages() -> None:
    evaluation = evaluate([0, 0, 1, 1], [0, 0, 1, 2])
    empty = evaluation.classes[2]
    assert (empty.precision, empty.recall, empty.f1, empty.support) == (None, None, None, 0)
    assert evaluation.metrics.balanced_accuracy.value == 3 / 4
    assert evaluation.metrics.macro_f1.value == pytest.approx((1 + 2 / 3) / 2)


def test_a_class_that_is_never_answered_has_precision_0() -> None:
    scores = evaluate([0, 1, 2], [0, 0, 2]).classes[1]
    assert (scores.precision, scores.recall, scores.f1) == (0, 0, 0)


def test_of_equal_probabilities_the_lower_index_wins() -> None:
    tied = np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]], np.float32)
    evaluation = evaluate_predictions(np.array([1, 2]), tied, CLASSES, top_k=1)
    assert evaluation.confusion_matrix.counts == ((0, 0, 0), (1, 0, 0), (0, 1, 0))
    assert evaluation.metrics.top_k.value == 0
    assert evaluate_predictions(np.array([1, 2]), tied, CLASSES, top_k=2).metrics.top_k.value == 1


def test_top_k_never_asks_for_more_classes_than_there_are() -> None:
    top_k = evaluate([0, 1], [1, 0]).metrics.top_k
    assert (top_k.k, top_k.value) == (3, 1)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.concatenate([sure_of([0] * 10, confidence=0.9), sure_of([0] * 10, confidence=0.5)])
    labels = np.array([0] * 9 + [1] + [0] * 3 + [1] * 7)
    calibration = evaluate_predictions(labels, probabilities, CLASSES).calibration
    assert calibration.ece == pytest.approx(0.5 * 0 + 0.5 * abs(0.3 - 0.5))
    assert [item.items for item in calibration.bins if item.items] == [10, 10]
    assert calibration.bins[0].confidence is None
    assert len(calibration.bins) == 15


def test_confidences_of_one_and_on_a_border_fall_into_the_lower_bin() -> None:
    probabilities = np.array([[1, 0, 0], [0.6, 0.4, 0]], np.float64)
    calibration = evaluate_predictions(
        np.array([0, 0]), probabilities.astype(np.float32), CLASSES
    ).calibration
    assert calibration.bins[14].items == 1
    assert sum(item.items for item in calibration.bins) == 2


def test_it_is_json_without_nan_even_when_everything_is_wrong_and_impossible() -> None:
    probabilities = np.eye(3, dtype=np.float32)[[1, 1]]
    evaluation = evaluate_predictions(np.array([0, 0]), probabilities, CLASSES)
    json.dumps(asdict(evaluation), allow_nan=False)
    assert evaluation.metrics.log_loss == pytest.approx(15.942, abs=1e-3)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.zeros((0, 3)), "no images"),
        ([0], np.zeros((1, 2)), "classes"),
        ([0, 1], np.zeros((1, 3)), "labels"),
        ([3], np.zeros((1, 3)), "between 0 and 2"),
        ([-1], np.zeros((1, 3)), "between 0 and 2"),
        ([0], np.array([[np.nan, 0, 1]]), "finite"),
    ],
)
def test_input_that_makes_no_sense_is_refused(
    labels: list[int], probabilities: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(np.array(labels, int), probabilities.astype(np.float32), CLASSES)
