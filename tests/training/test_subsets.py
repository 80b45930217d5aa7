import numpy as np
import pytest

from app.errors import InvalidRequestError
from app.schemas.hyperparameters import Hyperparameters
from app.training.subsets import TrainingSubset, weigh_classes

LABELS = np.array([0, 0, 0, 1, 2, 2])


def test_balanced_weights_are_the_inverse_frequencies_and_one_on_average_over_pictures() -> None:
    weights = weigh_classes("balanced", LABELS, ["a", "b", "c"])
    assert weights.dtype == np.float32
    assert weights == pytest.approx([6 / 9, 2, 1])
    assert weights[LABELS].mean() == pytest.approx(1)


def test_a_class_without_training_pictures_does_not_disturb_the_others() -> None:
    weights = weigh_classes("balanced", LABELS, ["a", "b", "c", "d"])
    assert weights[:3] == pytest.approx([6 / 9, 2, 1])
    assert np.isfinite(weights).all()


def test_classes_that_are_not_named_weigh_one() -> None:
    assert weigh_classes({"b": 3.0}, LABELS, ["a", "b", "c"]).tolist() == [1, 3, 1]
    assert weigh_classes("none", LABELS, ["a", "b", "c"]).tolist() == [1, 1, 1]


def test_a_weight_for_no_class_lists_the_classes() -> None:
    with pytest.raises(InvalidRequestError, match="'d'; the classes are a, b, c"):
        weigh_classes({"d": 3.0}, LABELS, ["a", "b", "c"])


def test_an_epoch_read_from_the_middle_is_the_rest_of_the_whole_one(pictures) -> None:  # type: ignore[no-untyped-def]
    subset = TrainingSubset(pictures.reader, pictures.split["train"])
    settings = Hyperparameters(batch_size=16)
    weights = np.array([1, 2, 3], np.float32)
    whole = list(subset.read_epoch(4, settings, weights))
    rest = list(subset.read_epoch(4, settings, weights, start=3))
    assert sum(len(batch.labels) for batch in whole) == len(subset)
    assert len(rest) == len(whole) - 3
    for found, expected in zip(rest, whole[3:], strict=True):
        for name, values in vars(expected).items():
            assert np.array_equal(getattr(found, name), values)
        assert np.array_equal(found.weights, weights[found.labels])
