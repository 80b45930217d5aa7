import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.near_duplicates import words
from app.datasets.near_duplicates.flips import BACK, FLIPS, IN_TURN
from app.datasets.near_duplicates.keypoints import DIMENSIONS, flip_waves
from app.datasets.near_duplicates.sketches import sketch
from app.datasets.near_duplicates.words import Vocabulary, find_words, nearest_by_words
from tests.datasets.near_duplicates.textures import flip_image, make_texture


@pytest.mark.parametrize("bits", [0, 3])
@pytest.mark.parametrize("flip", range(len(FLIPS)))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_mirrored_patch_has_the_same_word_with_another_flip(seed: int, flip: int, bits: int) -> None:
    chance = np.random.default_rng(seed)
    patches = chance.normal(0, 30, (30, DIMENSIONS)).astype(np.float32)
    vocabulary = Vocabulary(np.concatenate([flip_waves(patches, each) for each in range(len(FLIPS))]), bits)
    waves = chance.integers(-50, 50, (40, DIMENSIONS)).astype(np.int8)

    flips, found = np.divmod(find_words(vocabulary, waves), vocabulary.size)
    turned = find_words(vocabulary, flip_waves(waves, flip))
    flips_then, found_then = np.divmod(turned, vocabulary.size)

    assert (found == found_then).all()
    assert (IN_TURN[flips, flip] == flips_then).all()


@pytest.mark.parametrize("flip", [1, 5])
def test_a_mirrored_or_turned_window_is_the_first_neighbour_of_its_texture_and_its_flip_is_known(
    flip: int,
) -> None:
    textures = [make_texture(seed) for seed in range(12)]
    moved = flip_image(textures[3][20:, 20:], flip)
    sketches = np.concatenate([sketch(np.ascontiguousarray(grey)) for grey in [*textures, moved]])
    done: list[int] = []

    found = nearest_by_words(sketches, 2, done.append)

    is_wanted = (found.first == 12) & (found.rank == 0)
    assert found.second[is_wanted].tolist() == [3]
    assert found.flip[is_wanted].tolist() == [BACK[flip]]
    assert done == [13]


def test_words_that_many_images_have_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sketches = np.concatenate([sketch(make_texture(seed)) for seed in range(8)])
    monkeypatch.setattr(words, "_RARE", 0)
    monkeypatch.setattr(words, "_FREQUENT_SHARE", 0)

    assert len(nearest_by_words(sketches, 2, lambda _: None).first) == 0


def test_images_without_points_have_no_neighbours_by_words() -> None:
    blank = np.full((100, 100), 7, np.uint8)

    found = nearest_by_words(np.concatenate([sketch(blank)] * 3), 2, lambda _: None)

    assert len(found.first) == 0


def test_a_copy_is_found_by_the_rarest_words_of_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    textures = [make_texture(seed) for seed in range(120)]
    sketches = np.concatenate([sketch(grey) for grey in [*textures, textures[5][8:, 5:]]])
    monkeypatch.setattr(words, "_RARE", 0)
    monkeypatch.setattr(words, "_FREQUENT_SHARE", 1)
    monkeypatch.setattr(words, "_MOST_WORDS", 96)

    found = nearest_by_words(sketches, 1, lambda _: None)

    assert found.second[found.first == 120].tolist() == [5]
