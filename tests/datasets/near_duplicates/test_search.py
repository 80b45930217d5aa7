from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from app.datasets.near_duplicates.features import Vectors
from app.datasets.near_duplicates.search import NearDuplicates, Progress, search_sketches
from app.datasets.near_duplicates.sketches import SmallImage, sketch_images
from tests.datasets.near_duplicates.textures import Grey, cut_photos, make_texture, stretch


def give(grey: Grey) -> SmallImage:
    return lambda: grey


def find_near_duplicates(
    images: Sequence[SmallImage], features: Vectors | None, progress: Progress, *, partial: Path, digest: str
) -> NearDuplicates:
    number = len(images)
    sketches = sketch_images(images, partial, digest, lambda done: progress("sketches", done, number))
    return search_sketches(sketches, features, progress)


def search(greys: Sequence[Grey], folder: Path, features: Vectors | None = None) -> NearDuplicates:
    images = [give(np.ascontiguousarray(grey)) for grey in greys]
    return find_near_duplicates(
        images, features, lambda *_: None, partial=folder / "partial", digest="images"
    )


def test_copies_are_found_among_textures_and_photos_and_nothing_else(tmp_path: Path) -> None:
    greys = [make_texture(seed) for seed in range(30)] + cut_photos()
    copies = {
        3: greys[3][10:-15, 5:-20],
        9: stretch(greys[9], 90, 110),
        17: greys[17][:, ::-1],
        32: (greys[32] * 0.8).astype(np.uint8),
    }

    found = search([*greys, *copies.values()], tmp_path)

    expected = [(source, number) for number, source in enumerate(copies, start=len(greys))]
    assert sorted((pair.first, pair.second) for pair in found.pairs) == expected
    assert sorted(found.groups) == expected
    assert {pair.reason for pair in found.pairs} == {"points"}
    assert [pair.flip for pair in found.pairs if pair.first == 17] == [1]
    assert not found.used_features


def test_shots_of_a_burst_become_one_group(tmp_path: Path) -> None:
    wide = make_texture(50, 420)
    shots = [wide[:180, start : start + 180] for start in range(0, 240, 40)]

    found = search([*(make_texture(seed) for seed in range(12)), *shots], tmp_path)

    assert found.groups == (tuple(range(12, 18)),)


def test_features_lead_to_a_copy_that_neither_points_nor_hashes_lead_to(tmp_path: Path) -> None:
    small = [stretch(photo, 40, 40) for photo in cut_photos(100, 100)]
    copy = stretch(small[9][4:, 4:], 40, 40)
    features = np.random.default_rng(0).normal(size=(len(small) + 1, 16)).astype(np.float16)
    features[-1] = features[9]

    without = search([*small, copy], tmp_path)
    found = search([*small, copy], tmp_path, features)

    assert without.pairs == ()
    assert [(pair.first, pair.second, pair.reason) for pair in found.pairs] == [(9, len(small), "pixels")]
    assert found.used_features


def test_small_images_are_compared_pixel_by_pixel(tmp_path: Path) -> None:
    small = [stretch(photo, 32, 32) for photo in cut_photos(100, 100)]

    found = search([*small, (small[7] * 0.85).astype(np.uint8)], tmp_path)

    assert [(pair.first, pair.second, pair.reason) for pair in found.pairs] == [(7, len(small), "pixels")]
    assert found.with_few_points == len(small) + 1


def test_handwritten_digits_are_not_taken_for_copies_of_each_other(tmp_path: Path) -> None:
    digits = [(digit * 15.9).astype(np.uint8) for digit in load_digits().images[:400]]

    found = search([*digits, digits[11]], tmp_path)

    assert (11, 400) in {(pair.first, pair.second) for pair in found.pairs}
    assert len(found.pairs) <= 2


def test_blank_images_are_no_copies(tmp_path: Path) -> None:
    blank = [np.full((120, 120), value, np.uint8) for value in (0, 0, 128, 255)]

    assert search(blank, tmp_path).pairs == ()


@pytest.mark.parametrize("number", [0, 1])
def test_a_dataset_of_no_or_one_image_has_no_copies(tmp_path: Path, number: int) -> None:
    found = search([make_texture(0)] * number, tmp_path, np.ones((number, 5), np.float16))

    assert (found.images, found.pairs, found.verified) == (number, (), 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (700, 3), (48, 48), (49, 2000)])
def test_an_image_of_any_size_is_searched(tmp_path: Path, size: tuple[int, int]) -> None:
    odd = stretch(make_texture(0), *size)

    assert search([odd, make_texture(1)], tmp_path).images == 2


def test_features_of_other_images_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 feature vectors for 3 images"):
        search([make_texture(seed) for seed in range(3)], tmp_path, np.ones((2, 5), np.float16))


class LeaveError(Exception):
    pass


def count_calls(greys: Sequence[Grey], asked: list[int]) -> list[SmallImage]:
    def image(number: int) -> Callable[[], Grey]:
        def read() -> Grey:
            asked.append(number)
            return greys[number]

        return read

    return [image(number) for number in range(len(greys))]


def leave_at(stage: str, number: int) -> Callable[[str, int, int], None]:
    def progress(at: str, done: int, _: int) -> None:
        if (at, done) == (stage, number):
            raise LeaveError

    return progress


def test_a_search_that_was_left_goes_on_without_the_images_it_has_seen(tmp_path: Path) -> None:
    greys = [make_texture(seed) for seed in range(20)] + [make_texture(4)[10:, 10:]]
    asked: list[int] = []
    images = count_calls(greys, asked)
    partial = tmp_path / "partial"
    with pytest.raises(LeaveError):
        find_near_duplicates(images, None, leave_at("sketches", 12), partial=partial, digest="a")
    with partial.open("ab") as file:
        file.write(b"half a sketch")  # as a kill leaves it
    asked.clear()

    found = find_near_duplicates(images, None, lambda *_: None, partial=partial, digest="a")

    assert sorted(asked) == list(range(12, 21))
    assert found == search(greys, tmp_path / "..")


def test_sketches_of_other_images_are_made_anew(tmp_path: Path) -> None:
    asked: list[int] = []
    images = count_calls([make_texture(seed) for seed in range(4)], asked)
    for digest in ("a", "b", "b"):
        find_near_duplicates(images, None, lambda *_: None, partial=tmp_path / "partial", digest=digest)

    assert sorted(asked) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("stage", ["sketches", "words", "hashes", "features", "pairs"])
def test_every_stage_can_be_left(tmp_path: Path, stage: str) -> None:
    def progress(at: str, done: int, whole: int) -> None:
        assert 0 < done <= whole
        if at == stage:
            raise LeaveError

    images = [give(make_texture(seed)) for seed in range(5)] + [give(make_texture(0, 40))]
    features = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float16)

    with pytest.raises(LeaveError):
        find_near_duplicates(images, features, progress, partial=tmp_path / "partial", digest="a")


def test_the_least_that_is_kept_of_an_image_does_not_grow_with_it(tmp_path: Path) -> None:
    large = np.asarray(Image.fromarray(make_texture(0)).resize((2000, 1500)))

    search([large, make_texture(1)], tmp_path)

    assert (tmp_path / "partial").stat().st_size < 20_000
