import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from app.datasets.near_duplicates.flips import BACK, FLIPS
from app.datasets.near_duplicates.keypoints import POINTS, find_keypoints, flip_keypoints
from app.datasets.near_duplicates.registration import register
from tests.datasets.near_duplicates.textures import Grey, cut_photos, flip_image, make_texture, stretch


def save(grey: Grey, quality: int) -> Grey:
    data = io.BytesIO()
    Image.fromarray(grey).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def turn(grey: Grey, degrees: float) -> Grey:
    turned = Image.fromarray(grey).rotate(degrees, Image.Resampling.BICUBIC)
    return np.asarray(turned)[12:-12, 12:-12]


CHANGES: dict[str, Callable[[Grey], Grey]] = {
    "the same": lambda grey: grey,
    "cropped": lambda grey: grey[9:-14, 20:-6],
    "half as large": lambda grey: stretch(grey, grey.shape[1] // 2, grey.shape[0] // 2),
    "stretched": lambda grey: stretch(grey, 300, 140),
    "darker": lambda grey: (grey * 0.8).astype(np.uint8),
    "saved with quality 40": lambda grey: save(grey, 40),
    "upside down": lambda grey: grey[::-1],
    "on its side": lambda grey: np.rot90(grey),
    "mirrored": lambda grey: grey[:, ::-1],
    "turned by three degrees": lambda grey: turn(grey, 3),
    "all at once": lambda grey: save(
        (stretch(grey[12:-12, 4:-20], 120, 140)[:, ::-1] * 0.85).astype("u1"), 50
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("grey", [make_texture(5), cut_photos()[0]], ids=["texture", "photo"])
def test_an_altered_copy_lies_on_its_image(grey: Grey, change: str) -> None:
    copy = np.ascontiguousarray(CHANGES[change](grey))

    placed = register(find_keypoints(grey), find_keypoints(copy))

    assert placed is not None
    assert placed.share > 0.5
    assert placed.flip == {"upside down": 2, "on its side": 5, "mirrored": 1, "all at once": 1}.get(change, 0)


def test_a_window_that_moved_by_half_its_width_lies_on_the_other() -> None:
    wide = make_texture(6, 320)

    placed = register(find_keypoints(wide[:200, :200]), find_keypoints(wide[:200, 100:300]))

    assert placed is not None
    assert placed.scale == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("flip", range(len(FLIPS)))
def test_an_image_that_was_flipped_in_any_way_lies_on_its_image_by_that_flip_alone(flip: int) -> None:
    grey = make_texture(5)
    points, flipped = find_keypoints(grey), find_keypoints(flip_image(grey, flip))

    placed = [register(points, flipped, each) for each in range(len(FLIPS))]

    assert [each for each, one in enumerate(placed) if one is not None] == [BACK[flip]]


def test_two_images_with_one_stamp_agree_on_little_of_them_and_a_copy_on_much() -> None:
    stamp = cut_photos(60, 100)[3]
    one, other = (make_texture(seed).copy() for seed in (5, 9))
    one[100:160, 20:80] = other[100:160, 20:80] = stamp

    strangers = register(find_keypoints(one), find_keypoints(other))
    copies = register(find_keypoints(one), find_keypoints(np.ascontiguousarray(one[8:, 5:])))

    assert copies is not None
    assert copies.cover > 0.8
    assert strangers is None or strangers.cover < 0.3


def test_no_two_textures_of_one_material_lie_on_each_other() -> None:
    points = [find_keypoints(make_texture(seed)) for seed in range(24)]

    placed = [register(one, other) for number, one in enumerate(points) for other in points[:number]]

    assert placed == [None] * 276


def test_no_two_windows_of_a_photo_that_do_not_overlap_lie_on_each_other() -> None:
    points = [find_keypoints(grey) for grey in cut_photos()]

    placed = [register(one, other) for number, one in enumerate(points) for other in points[:number]]

    assert placed == [None] * len(placed)


def test_the_scale_of_a_crop_is_told() -> None:
    grey = make_texture(7)

    placed = register(find_keypoints(grey), find_keypoints(grey[18:-18, 18:-18]))

    assert placed is not None
    assert placed.scale == pytest.approx(1 / 0.8, abs=0.04)


def test_points_of_a_mirrored_image_are_those_of_the_image_mirrored() -> None:
    grey = make_texture(8)
    points = find_keypoints(np.ascontiguousarray(grey[:, ::-1]))

    placed = register(points, flip_keypoints(find_keypoints(grey), 1), 0)

    assert placed is not None
    assert placed.points > 0.95 * len(points)


@pytest.mark.parametrize("value", [0, 255])
def test_a_blank_image_has_no_points_and_lies_on_nothing(value: int) -> None:
    blank = find_keypoints(np.full((100, 60), value, np.uint8))

    assert len(blank) == 0
    assert register(blank, blank) is None
    assert register(blank, find_keypoints(make_texture(1))) is None


def test_an_image_has_no_more_points_than_are_kept() -> None:
    assert len(find_keypoints(np.random.default_rng(0).integers(0, 256, (500, 300), np.uint8))) == POINTS
