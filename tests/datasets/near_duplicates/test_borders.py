import numpy as np
import pytest

from app.datasets.near_duplicates.borders import cut_bars
from app.datasets.near_duplicates.hashes import hash_image
from tests.datasets.near_duplicates.textures import Grey, cut_photos, make_texture, stretch


def frame(grey: Grey, top: int, bottom: int, left: int, right: int, colour: int = 0) -> Grey:
    return np.pad(grey, ((top, bottom), (left, right)), constant_values=colour)


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize("bars", [(20, 20, 0, 0), (0, 0, 25, 25), (0, 30, 0, 0), (9, 9, 9, 9), (4, 0, 0, 12)])
def test_bars_of_one_colour_are_cut(bars: tuple[int, int, int, int], colour: int) -> None:
    grey = make_texture(3)

    assert np.array_equal(cut_bars(frame(grey, *bars, colour)), grey)


def test_bars_of_a_copy_that_was_made_smaller_and_noisy_are_cut_but_for_a_row() -> None:
    grey = make_texture(3)
    small = stretch(frame(grey, 30, 30, 0, 0), 113, 150).astype(float)
    noisy = np.clip(small + np.random.default_rng(0).normal(0, 1.5, small.shape), 0, 255).astype(np.uint8)

    assert abs(len(cut_bars(noisy)) - 113) <= 2


def test_images_without_bars_are_left_as_they_are() -> None:
    for grey in [make_texture(4), *cut_photos()]:
        assert np.array_equal(cut_bars(grey), grey)


def test_a_thing_in_front_of_a_plain_background_keeps_it() -> None:
    """Noise would hide the background of a copy, and the two would be of different sizes."""
    plain = np.full((160, 160), 240, np.uint8)
    down, across = np.mgrid[:160, :160]
    is_thing = np.hypot(down - 80, across - 80) < 40
    plain[is_thing] = make_texture(1)[:160, :160][is_thing]

    assert np.array_equal(cut_bars(plain), plain)


@pytest.mark.parametrize("shape", [(1, 1), (2, 90), (90, 3), (5, 5), (160, 160)])
def test_a_blank_image_of_any_size_is_left_as_it_is(shape: tuple[int, int]) -> None:
    assert cut_bars(np.full(shape, 7, np.uint8)).shape == shape


def test_an_image_that_is_mostly_bar_is_left_as_it_is() -> None:
    framed = frame(make_texture(3)[:60], 60, 60, 0, 0)

    assert cut_bars(framed).shape == framed.shape


def test_the_hash_of_a_letterboxed_image_is_that_of_the_image() -> None:
    grey = make_texture(3)

    assert np.array_equal(hash_image(cut_bars(frame(grey, 25, 25, 0, 0))), hash_image(grey))
