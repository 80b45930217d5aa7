import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.near_duplicates.flips import FLIPS
from app.datasets.near_duplicates.hashes import (
    BITS,
    flips_of_hashes,
    hash_image,
    order_of_hashes,
    unpack_hashes,
)
from tests.datasets.near_duplicates.textures import Grey, flip_image, make_texture, stretch


def signs_of(grey: Grey) -> np.ndarray:
    return unpack_hashes(hash_image(grey)).astype(int)


@pytest.mark.parametrize("flip", range(len(FLIPS)))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), width=st.integers(20, 300), height=st.integers(20, 300))
def test_the_hash_of_a_mirrored_image_follows_from_that_of_the_image(
    flip: int, seed: int, width: int, height: int
) -> None:
    grey = stretch(make_texture(seed % 5), width, height)
    expected = signs_of(grey)[order_of_hashes()[flip]] * flips_of_hashes()[flip]

    assert (signs_of(flip_image(grey, flip)) != expected).sum() <= 1  # a frequency of almost nothing


def test_the_hash_of_a_resized_and_brighter_image_is_nearly_the_same() -> None:
    grey = make_texture(1)
    brighter = np.clip(stretch(grey, 260, 140) * 1.15, 0, 255).astype(np.uint8)

    assert (signs_of(grey) != signs_of(brighter)).sum() < 16


def test_hashes_of_two_textures_differ_in_about_half_of_their_bits() -> None:
    apart = (signs_of(make_texture(1)) != signs_of(make_texture(2))).sum()

    assert abs(int(apart) - BITS // 2) < 40
