from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from app.training.augmentation import DRAWS, augment, augmentation_parameters
from app.training.data_order import augmentation_draws

SHAPE = (24, 20)


@tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
def augmented(images: Any, parameters: Any, strength: str) -> Any:
    return augment(images, parameters, strength=strength)  # type: ignore[arg-type]


def vary(images: np.ndarray, draws: np.ndarray, strength: str = "strong", flip: bool = True) -> np.ndarray:
    parameters = augmentation_parameters(
        draws,
        strength=strength,  # type: ignore[arg-type]
        horizontal_flip=flip,
        image_size=SHAPE,
    )
    images = tf.ensure_shape(tf.constant(images, tf.float32), (None, *SHAPE, 3))
    result: np.ndarray = augmented(images, tf.constant(parameters), strength).numpy()
    return result


def make_pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, *SHAPE, 3)).astype(np.float32)


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_pixels_do_not_depend_on_the_other_pictures_of_the_batch(strength: str) -> None:
    pictures, draws = make_pictures(37), augmentation_draws(37, DRAWS, seed=0, epoch=1)
    together = vary(pictures, draws, strength)
    backwards = vary(pictures[::-1], draws[::-1], strength)[::-1]
    alone = np.concatenate([vary(pictures[i : i + 1], draws[i : i + 1], strength) for i in range(37)])
    assert together.tobytes() == backwards.tobytes() == alone.tobytes()
    assert not np.array_equal(together, pictures)


def test_none_leaves_pictures_alone() -> None:
    pictures = make_pictures(3)
    assert np.array_equal(vary(pictures, augmentation_draws(3, DRAWS, seed=0, epoch=1), "none"), pictures)


def test_middling_draws_leave_a_picture_as_it_is() -> None:
    pictures = make_pictures(2)
    same = vary(pictures, np.full((2, DRAWS), 0.5, np.float32), "strong")
    assert np.allclose(same, pictures, atol=1e-2)


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_pixels_stay_between_0_and_255_and_keep_most_of_the_picture(strength: str) -> None:
    pictures = np.full((200, *SHAPE, 3), 120, np.float32)
    varied = vary(pictures, augmentation_draws(200, DRAWS, seed=0, epoch=1), strength)
    assert varied.min() >= 0
    assert varied.max() <= 255
    assert abs(varied.mean() - 120) < 10


def test_pictures_are_mirrored_only_when_they_may_be() -> None:
    pictures = np.zeros((200, *SHAPE, 3), np.float32)
    pictures[:, :, : SHAPE[1] // 2] = 200
    draws = augmentation_draws(200, DRAWS, seed=0, epoch=1)

    def share_mirrored(flip: bool) -> float:
        varied = vary(pictures, draws, "light", flip)
        return float(np.mean(varied[:, :, -5:].mean(axis=(1, 2, 3)) > varied[:, :, :5].mean(axis=(1, 2, 3))))

    assert share_mirrored(False) == 0
    assert 0.4 < share_mirrored(True) < 0.6


def test_only_strong_cuts_out_and_about_every_second_picture() -> None:
    pictures = np.zeros((200, *SHAPE, 3), np.float32)
    draws = augmentation_draws(200, DRAWS, seed=0, epoch=1)
    assert not (vary(pictures, draws, "light") == 127.5).any()
    share = (vary(pictures, draws, "strong") == 127.5).any(axis=(1, 2, 3)).mean()
    assert 0.35 < share < 0.6


def test_rotation_turns_about_the_middle_by_at_most_its_degrees() -> None:
    picture = np.zeros((1, *SHAPE, 3), np.float32)
    picture[:, 11:13, :] = 255
    draws = np.full((1, DRAWS), 0.5, np.float32)
    draws[0, 2] = 1.0
    rows = np.arange(SHAPE[0])[:, None]
    line = vary(picture, draws)[0, :, :, 0]
    centres = (line * rows).sum(0) / line.sum(0)
    degrees = np.degrees(np.arctan(np.polyfit(np.arange(4, 16), centres[4:16], 1)[0]))
    assert abs(degrees) == pytest.approx(15, abs=1)
    assert centres[9:11].mean() == pytest.approx(11.5, abs=0.1)
