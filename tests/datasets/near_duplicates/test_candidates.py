import numpy as np
import pytest

from app.datasets.near_duplicates import candidates
from app.datasets.near_duplicates.candidates import (
    find_candidates,
    merge,
    nearest_by_hash,
)
from app.datasets.near_duplicates.flips import BACK, IN_TURN
from app.datasets.near_duplicates.hashes import flips_of_hashes, order_of_hashes, unpack_hashes
from app.datasets.near_duplicates.neighbours import UNKNOWN, Neighbours
from app.datasets.near_duplicates.sketches import Sketches, sketch
from tests.datasets.near_duplicates.textures import make_texture


def sketch_textures(number: int) -> Sketches:
    return np.concatenate([sketch(make_texture(seed)) for seed in range(number)])


def test_neighbours_by_hash_are_the_nearest_of_all_images_and_all_flips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candidates, "_BLOCK", 7)
    monkeypatch.setattr(candidates, "_MOST_BITS_APART", 256)
    monkeypatch.setattr(candidates, "_SHARE_OF_USUAL", 100)
    hashes = np.random.default_rng(0).integers(0, 256, (30, 32), np.uint8)
    signs = unpack_hashes(hashes).astype(int)
    flips = zip(order_of_hashes(), flips_of_hashes(), strict=True)
    alike = np.stack([(signs[:, order] * flip) @ signs.T for order, flip in flips])
    alike[:, np.arange(30), np.arange(30)] = -1000
    done: list[int] = []

    found = nearest_by_hash(hashes, np.arange(30), 1, done.append)

    assert found.first.tolist() == list(range(30))
    assert [alike[f, i, j] for f, i, j in zip(found.flip, found.first, found.second, strict=True)] == (
        alike.max((0, 2)).tolist()
    )
    assert done == [7, 14, 21, 28, 30]


def test_hashes_that_are_as_near_as_others_of_the_dataset_are_no_candidates() -> None:
    chance = np.random.default_rng(0)
    alike = np.repeat(chance.integers(0, 256, (1, 32), np.uint8), 300, axis=0)
    alike[:, :16] = chance.integers(
        0, 256, (300, 16), np.uint8
    )  # any two are 64 bits apart: copies elsewhere
    alike[7] = alike[3]

    found = nearest_by_hash(alike, np.arange(300), 2, lambda _: None)

    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == {(3, 7), (7, 3)}


def test_each_pair_is_a_candidate_once_and_a_known_flip_goes_before_an_unknown_one() -> None:
    sketches = sketch_textures(10)
    features = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float16)

    found = find_candidates(sketches, features, lambda *_: None)

    pairs = [tuple(pair) for pair in found.pairs.tolist()]
    assert len(set(pairs)) == len(pairs)
    assert all(first < second for first, second in pairs)
    by_words = find_candidates(sketches, None, lambda *_: None)
    known = {tuple(pair): flip for pair, flip in zip(by_words.pairs.tolist(), by_words.flips, strict=True)}
    assert all(known.get(pair, flip) == flip for pair, flip in zip(pairs, found.flips, strict=True))


def test_in_a_large_dataset_first_neighbours_go_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "MOST_PAIRS", 3)
    first, second = np.array([0, 0, 1, 2, 3], np.int32), np.array([5, 6, 5, 0, 1], np.int32)
    ranks = np.array([1, 0, 2, 0, 0], np.int8)

    found = merge(Neighbours(first, second, np.zeros(5, np.int8), ranks))

    assert found.pairs.tolist() == [[0, 2], [0, 6], [1, 3]]
    assert found.left_out == 2


def test_the_flip_of_a_pair_is_that_of_its_later_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "MOST_PAIRS", 4)
    turned = IN_TURN[4, 1]  # by a quarter; back is a quarter the other way
    first, second = np.array([0, 5, 3], np.int32), np.array([4, 1, 2], np.int32)

    found = merge(
        Neighbours(first, second, np.array([turned, turned, UNKNOWN], np.int8), np.zeros(3, np.int8))
    )

    assert found.pairs.tolist() == [[0, 4], [1, 5], [2, 3]]
    assert found.flips.tolist() == [BACK[turned], turned, UNKNOWN]
    assert BACK[turned] != turned


def test_a_dataset_of_no_or_one_image_has_no_candidates() -> None:
    for number in (0, 1):
        features = np.ones((number, 4), np.float16)

        assert len(find_candidates(sketch_textures(1)[:number], features, lambda *_: None).pairs) == 0
