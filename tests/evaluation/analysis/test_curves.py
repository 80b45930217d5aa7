"""The curves of an evaluation against scikit-learn, and against their definitions counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from app.evaluation.analysis import curves
from app.evaluation.analysis.curves import draw_curves, risk_coverage
from app.evaluation.analysis.spec import Curves
from app.evaluation.analysis.thinning import thin_curve
from app.evaluation.metrics import evaluate_predictions

CLASSES = ("a", "b", "c", "d")


def answers(
    images: int = 300, known: int = 4, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Labels, and probabilities of a model that is often right."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, known, images)
    logits = random.normal(0, 1, (images, known)) + 1.5 * np.eye(known)[labels]
    shares = np.exp(logits)
    return labels, (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def drawn() -> Curves:
    labels, probabilities = answers()
    return draw_curves(labels, probabilities, CLASSES)


def test_areas_are_those_of_scikit_learn(drawn: Curves) -> None:
    labels, probabilities = answers()
    for index, each in enumerate(drawn.classes):
        is_class, scores = labels == index, probabilities[:, index]
        assert each.roc is not None
        assert each.precision_recall is not None
        assert each.roc.area == pytest.approx(metrics.roc_auc_score(is_class, scores), abs=1e-12)
        expected = metrics.average_precision_score(is_class, scores)
        assert each.precision_recall.average_precision == pytest.approx(expected, abs=1e-12)
        assert (each.positives, each.negatives) == (is_class.sum(), (~is_class).sum())
    one_hot = np.eye(4, dtype=int)[labels]
    assert drawn.micro is not None
    assert drawn.macro is not None
    for average, roc, precision in (
        ("micro", drawn.micro.roc.area, drawn.micro.precision_recall.average_precision),
        ("macro", drawn.macro.roc.area, drawn.macro.average_precision),
    ):
        assert roc == pytest.approx(metrics.roc_auc_score(one_hot, probabilities, average=average))
        assert precision == pytest.approx(
            metrics.average_precision_score(one_hot, probabilities, average=average)
        )


def test_thinned_curves_keep_their_area() -> None:
    """The area that is stated is of all points; that of the points that are left is the same to the eye."""
    labels, probabilities = answers(20_000)
    drawn = draw_curves(labels, probabilities, CLASSES)
    for each in drawn.classes:
        assert each.roc is not None
        assert len(each.roc.true_positive_rate) <= drawn.max_points
        left = metrics.auc(each.roc.false_positive_rate, each.roc.true_positive_rate)
        assert left == pytest.approx(each.roc.area, abs=1e-4)
    curve = drawn.risk_coverage
    assert len(curve.risk) <= drawn.max_points
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx((probabilities.argmax(axis=1) != labels).mean(), abs=1e-6)


def test_reliability_is_that_of_the_evaluation(drawn: Curves) -> None:
    evaluation = evaluate_predictions(*answers(), CLASSES)
    assert drawn.reliability.ece == evaluation.calibration.ece
    for each, expected in zip(drawn.reliability.bins, evaluation.calibration.bins, strict=True):
        assert (each.items, each.accuracy) == (expected.items, expected.accuracy)
        assert (each.accuracy is None) == (each.accuracy_low is None) == (each.accuracy_high is None)
        if each.accuracy is not None:
            assert each.accuracy_low is not None
            assert each.accuracy_high is not None
            assert each.accuracy_low <= each.accuracy <= each.accuracy_high


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.2, 0.25, 0.5, 0.7, 0.9, 1.0])), min_size=1, max_size=40
    )
)
def test_risk_is_the_share_of_wrong_answers_among_those_at_least_as_sure(
    images: list[tuple[bool, float]],
) -> None:
    is_right = np.array([right for right, _ in images])
    confidence = np.array([sure for _, sure in images])
    curve = risk_coverage(is_right, confidence)
    risks = []
    for coverage, risk, least in zip(curve.coverage, curve.risk, curve.confidence, strict=True):
        answered = [right for right, sure in images if sure >= least]
        assert coverage == pytest.approx(len(answered) / len(images), abs=1e-6)
        assert risk == pytest.approx(1 - sum(answered) / len(answered), abs=1e-6)
    for _, sure in images:
        answered = [right for right, other in images if other >= sure]
        risks.append(1 - sum(answered) / len(answered))
    assert curve.area == pytest.approx(np.mean(risks))


@given(
    st.lists(st.tuples(st.floats(0, 0.1), st.floats(0, 0.1)), min_size=1, max_size=300),
    st.integers(2, 50),
)
def test_a_thinned_curve_is_never_far_from_the_whole(steps: list[tuple[float, float]], most: int) -> None:
    x, y = np.cumsum(np.array(steps), axis=0).T
    x, y = x / max(x[-1], 1), y / max(y[-1], 1)
    kept = thin_curve(x, y, most)
    assert 1 <= len(kept) <= max(most, 2)
    assert (kept[0], kept[-1]) == (0, len(x) - 1)
    assert (np.diff(kept) > 0).all()
    if len(x) > most > 2:
        nearest = np.abs(x[:, None] - x[kept]) + np.abs(y[:, None] - y[kept])
        longest_step = (np.diff(x) + np.diff(y)).max(initial=0)
        assert nearest.min(axis=1).max() <= 2 / (most - 1) + longest_step


def test_a_class_without_images_has_no_curves() -> None:
    labels, probabilities = answers()
    drawn = draw_curves(np.where(labels == 3, 0, labels), probabilities, CLASSES)
    assert (drawn.classes[3].positives, drawn.classes[3].roc) == (0, None)
    assert drawn.macro is not None
    assert drawn.macro.classes == 3
    assert drawn.micro is not None


def test_images_of_one_class_alone_have_no_curve_of_a_class() -> None:
    _, probabilities = answers()
    drawn = draw_curves(np.zeros(len(probabilities), np.int64), probabilities, CLASSES)
    assert drawn.macro is None
    assert all(each.roc is None for each in drawn.classes)
    assert drawn.micro is not None


def test_images_of_classes_that_the_model_does_not_know_are_others_to_each() -> None:
    labels, probabilities = answers()
    drawn = draw_curves(np.where(labels == 0, 4, labels), probabilities, (*CLASSES, "unknown"))
    assert [each.name for each in drawn.classes] == list(CLASSES)
    assert (drawn.classes[0].positives, drawn.classes[0].negatives) == (0, 300)
    assert drawn.risk_coverage.risk[-1] > (labels == 0).mean()
    nothing_known = draw_curves(np.full(300, 4), probabilities, (*CLASSES, "unknown"))
    assert (nothing_known.micro, nothing_known.macro) == (None, None)
    assert nothing_known.risk_coverage.area == 1


def test_without_a_mistake_there_is_no_risk() -> None:
    drawn = draw_curves(np.arange(4), np.eye(4, dtype=np.float32), CLASSES)
    assert drawn.risk_coverage.area == 0
    assert drawn.macro is not None
    assert drawn.macro.roc.area == 1


def test_what_would_take_too_much_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MICRO_PAIRS", 1199)
    assert draw_curves(*answers(), CLASSES).micro is None


def test_many_classes_share_the_points() -> None:
    labels, probabilities = answers(3000, known=1000)
    drawn = draw_curves(labels, probabilities, [str(number) for number in range(1000)])
    points = sum(len(each.roc.true_positive_rate) for each in drawn.classes if each.roc is not None)
    assert points <= curves.MAX_CLASS_POINTS
    assert drawn.macro is not None
    expected: Any = np.mean(
        [metrics.roc_auc_score(labels == index, probabilities[:, index]) for index in set(labels.tolist())]
    )
    assert drawn.macro.roc.area == pytest.approx(expected)
