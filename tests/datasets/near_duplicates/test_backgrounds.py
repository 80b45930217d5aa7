"""Different parts in front of one background, and shots of one part in front of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.datasets.near_duplicates.backgrounds import take_off_background
from app.datasets.near_duplicates.search import search_sketches
from app.datasets.near_duplicates.sketches import Sketches, sketch
from tests.datasets.near_duplicates.textures import make_texture

SIDE = 256


def shoot(parts: int, shots: int, radius: int) -> Sketches:
    """Round parts in one fixture, which moves by a few pixels, with noise and changing light."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    made = []
    for part in range(parts):
        for _ in range(shots):
            whole = np.where(y**2 + x**2 < radius**2, make_texture(part, SIDE), make_texture(999, SIDE))
            light = whole * rng.uniform(0.95, 1.05) + rng.normal(0, 2, whole.shape)
            moved = np.roll(light, tuple(rng.integers(-3, 4, 2)), (0, 1))
            made.append(sketch(np.clip(moved, 0, 255).astype(np.uint8)))
    return np.concatenate(made)


def take_off(sketches: Sketches) -> tuple[Sketches, NDArray[np.intp]]:
    return take_off_background(sketches, np.arange(len(sketches)), lambda _: None)


def test_parts_in_one_fixture_are_one_group_until_it_is_taken_off() -> None:
    sketches = shoot(30, 1, 79)
    whole = search_sketches(sketches, None, lambda *_: None)
    assert max(map(len, whole.groups)) > 20
    rest, enough = take_off(sketches)
    assert len(enough) == 30
    assert rest["number"].mean() < 0.6 * sketches["number"].mean()
    assert search_sketches(rest, None, lambda *_: None).groups == ()


def test_shots_of_one_part_are_found_in_front_of_the_background() -> None:
    sketches = shoot(10, 4, 79)
    rest, enough = take_off(sketches)
    groups = search_sketches(rest, None, lambda *_: None).groups
    assert [tuple(enough[list(group)]) for group in groups] == [
        tuple(range(start, start + 4)) for start in range(0, 40, 4)
    ]


def test_what_is_nearly_all_background_is_not_compared() -> None:
    rest, enough = take_off(shoot(20, 1, 20))
    assert len(rest) == len(enough) < 3
    assert search_sketches(rest[:1], None, lambda *_: None).groups == ()


def test_images_without_points_have_no_background() -> None:
    blank = np.concatenate([sketch(np.full((64, 64), 90, np.uint8)) for _ in range(9)])
    rest, enough = take_off(blank)
    assert (len(rest), len(enough)) == (0, 0)
    assert search_sketches(rest, None, lambda *_: None).groups == ()
