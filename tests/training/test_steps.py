from typing import Any

import keras
import numpy as np
import pytest

from app.training.augmentation import PARAMETERS
from app.training.steps import build_evaluation_step, build_train_step, cross_entropy
from app.training.trainee import Trainee
from tests.training.settings import make_settings

RANDOM = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 2, 0], np.int32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    result: np.ndarray = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return result


def test_smoothed_labels_share_their_mass_over_all_classes() -> None:
    logits = RANDOM.normal(size=(5, 3)).astype(np.float32)
    targets = np.eye(3)[LABELS] * 0.7 + 0.1
    expected = -(targets * log_softmax(logits)).sum(axis=1)
    assert np.allclose(cross_entropy(LABELS, logits, label_smoothing=0.3), expected, atol=1e-6)


def make_model() -> Any:
    image = keras.Input((4, 4, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Dropout(0, name="head_dropout")(x)
    return keras.Model(image, keras.layers.Dense(3, name="logits")(x))


@pytest.fixture
def images() -> np.ndarray:
    return RANDOM.integers(256, size=(5, 4, 4, 3), dtype=np.uint8)


def test_evaluation_sums_plain_losses_and_counts_right_answers(images: np.ndarray) -> None:
    model = make_model()
    logits = model(images.astype(np.float32)).numpy()
    loss, correct = build_evaluation_step(model)(images, LABELS).numpy()
    assert loss == pytest.approx(-log_softmax(logits)[range(5), LABELS].sum(), rel=1e-5)
    assert correct == (logits.argmax(axis=1) == LABELS).sum()


def test_a_training_step_descends_the_weighted_mean_loss_at_the_rate_given(images: np.ndarray) -> None:
    settings = make_settings(optimizer="sgd", momentum=0, weight_decay=0, augmentation="none")
    model = make_model()
    step = build_train_step(Trainee(model, settings), settings)
    weights = np.array([1, 2, 0, 1, 0.5], np.float32)
    before = model.get_layer("logits").bias.numpy()
    losses = log_softmax(model(images.astype(np.float32)).numpy())
    loss, _ = step(images, LABELS, weights, np.zeros((5, PARAMETERS), np.float32), np.float32(0.25)).numpy()
    assert loss == pytest.approx(-(weights * losses[range(5), LABELS]).sum(), rel=1e-5)
    gradient = (weights[:, None] * (np.exp(losses) - np.eye(3)[LABELS])).mean(axis=0)
    assert np.allclose(model.get_layer("logits").bias.numpy(), before - 0.25 * gradient, atol=1e-6)


def test_batches_of_any_size_share_one_graph(images: np.ndarray) -> None:
    settings = make_settings()
    model = make_model()
    step = build_train_step(Trainee(model, settings), settings)
    for size in (5, 4, 1):
        step(
            images[:size],
            LABELS[:size],
            np.ones(size, np.float32),
            np.zeros((size, PARAMETERS), np.float32),
            0.1,
        )
    assert step.experimental_get_tracing_count() == 1  # type: ignore[attr-defined]
