from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.datasets.manifest import DatasetManifest, create_manifest
from app.datasets.split import split_dataset
from app.errors import SplitError
from app.schemas.hyperparameters import SplitSettings

DEFAULT = SplitSettings()


def rows(**counts: int) -> list[tuple[str, str, None]]:
    return [(label, f"{label}-{number}", None) for label, count in counts.items() for number in range(count)]


def table(manifest: DatasetManifest, split: Mapping[str, str]) -> dict[tuple[str, str], int]:
    return dict(Counter((item.label, split[item.id]) for item in manifest.items if item.id in split))


def check_no_leak(manifest: DatasetManifest, split: Mapping[str, str]) -> None:
    homes: dict[str, set[str]] = {}
    for item in manifest.items:
        if item.id in split:
            homes.setdefault(item.sha256, set()).add(split[item.id])
    assert all(len(home) == 1 for home in homes.values())


def test_each_class_is_divided_by_the_ratios(make_manifest: Any) -> None:
    manifest = make_manifest(rows(cat=100, dog=40))
    assert table(manifest, split_dataset(manifest, DEFAULT, 0)) == {
        ("cat", "train"): 70,
        ("cat", "valid"): 15,
        ("cat", "test"): 15,
        ("dog", "train"): 28,
        ("dog", "valid"): 6,
        ("dog", "test"): 6,
    }


def test_rounding_evens_out_over_the_classes(make_manifest: Any) -> None:
    manifest = make_manifest(rows(**{f"c{number:02d}": 10 for number in range(20)}))
    split = split_dataset(manifest, DEFAULT, 0)
    assert Counter(split.values()) == {"train": 140, "valid": 30, "test": 30}


def test_the_split_depends_on_the_seed_and_on_nothing_else(make_manifest: Any) -> None:
    manifest = make_manifest(rows(cat=50, dog=50))
    first = split_dataset(manifest, DEFAULT, 1)
    assert split_dataset(manifest, DEFAULT, 1) == first
    assert split_dataset(manifest, DEFAULT, 2) != first
    assert split_dataset(manifest, SplitSettings(seed=1), 2) == first
    assert list(first) == [item.id for item in manifest.items]


def test_the_split_of_a_seed_never_changes_between_versions(make_manifest: Any) -> None:
    manifest = make_manifest(rows(cat=6, dog=6))
    split = split_dataset(manifest, SplitSettings(train=0.5, valid=0.25, test=0.25), 42)
    # Computed by hand: sha256("42:cat-0") and so on, the lowest to test, the next to valid.
    assert " ".join(split.values()) == (
        "valid valid train train test train train valid train test train test"
    )


def test_most_test_pictures_stay_when_a_dataset_grows(make_manifest: Any) -> None:
    small, large = make_manifest(rows(cat=100, dog=100)), make_manifest(rows(cat=120, dog=120))
    in_test = [
        {item.sha256 for item in manifest.items if split[item.id] == "test"}
        for manifest in (small, large)
        for split in [split_dataset(manifest, DEFAULT, 0)]
    ]
    assert len(in_test[0] & in_test[1]) > 20


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    classes=st.lists(st.integers(3, 40), min_size=2, max_size=8),
    copies=st.integers(0, 10),
    valid=st.floats(0.01, 0.45),
    test=st.floats(0.01, 0.45),
    seed=st.integers(0, 2**31 - 1),
)
def test_every_class_is_in_every_split_and_no_file_in_two(
    make_manifest: Any, classes: list[int], copies: int, valid: float, test: float, seed: int
) -> None:
    content = rows(**{f"c{index}": count for index, count in enumerate(classes)})
    manifest = make_manifest([*content, *content[:copies]])
    split = split_dataset(manifest, SplitSettings(train=1 - valid - test, valid=valid, test=test), seed)
    assert set(split) == {item.id for item in manifest.items}
    counts = table(manifest, split)
    assert all((label, name) in counts for label in manifest.classes for name in ("train", "valid", "test"))
    check_no_leak(manifest, split)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"test": 0}, {"train": 85, "valid": 15}),
        ({"test": 0, "valid": 0.2}, {"train": 80, "valid": 20}),
        ({"test": 0, "train": 0.6, "valid": 0.4}, {"train": 60, "valid": 40}),
        ({"test": 0, "train": 30, "valid": 10}, {"train": 30, "valid": 10}),
    ],
)
def test_without_a_test_split_train_has_what_valid_leaves(
    make_manifest: Any, asked: dict[str, float], expected: dict[str, int]
) -> None:
    manifest = make_manifest(rows(cat=50, dog=50))
    assert Counter(split_dataset(manifest, SplitSettings(**asked), 0).values()) == expected


def test_two_images_of_a_class_are_enough_without_a_test_split(make_manifest: Any) -> None:
    manifest = make_manifest(rows(cat=2, dog=2))
    assert Counter(split_dataset(manifest, SplitSettings(test=0), 0).values()) == {"train": 2, "valid": 2}


def test_folders_that_came_split_get_no_test_split_where_none_is_asked_for(make_manifest: Any) -> None:
    content = [(label, f"{label}-{number}", "train") for label in ("cat", "dog") for number in range(20)]
    manifest = make_manifest(content)
    assert Counter(split_dataset(manifest, SplitSettings(test=0), 0).values()) == {"train": 34, "valid": 6}
    held = make_manifest([*content, ("cat", "held", "test")])
    assert Counter(split_dataset(held, SplitSettings(test=0), 0).values())["test"] == 1


def test_counts_are_met_exactly_and_the_rest_is_left_out(make_manifest: Any) -> None:
    manifest = make_manifest(rows(cat=50, dog=30, bird=7))
    split = split_dataset(manifest, SplitSettings(train=40, valid=10, test=11), 0)
    assert Counter(split.values()) == {"train": 40, "valid": 10, "test": 11}
    counts = table(manifest, split)
    assert counts["cat", "train"] > counts["dog", "train"] > counts["bird", "train"] >= 1
    everything = split_dataset(manifest, SplitSettings(train=60, valid=13, test=14), 0)
    assert len(everything) == 87


@pytest.mark.parametrize(
    ("shares", "match"),
    [
        ({"train": 80, "valid": 10, "test": 10}, "ask for 100 images, the dataset has 87"),
        ({"train": 40, "valid": 10, "test": 2}, "test has 2 images for 3 classes"),
    ],
)
def test_counts_that_cannot_be_met_are_an_error(
    make_manifest: Any, shares: dict[str, int], match: str
) -> None:
    manifest = make_manifest(rows(cat=50, dog=30, bird=7))
    with pytest.raises(SplitError, match=match) as caught:
        split_dataset(manifest, SplitSettings(**shares), 0)
    assert caught.value.hint


def test_a_class_of_fewer_than_three_different_pictures_is_an_error_that_names_it(make_manifest: Any) -> None:
    manifest = make_manifest([*rows(cat=10, dog=1), *[("bird", "same", None)] * 5])
    with pytest.raises(SplitError, match="too few in bird, dog") as caught:
        split_dataset(manifest, DEFAULT, 0)
    assert caught.value.hint


def test_identical_files_under_two_classes_stay_together(make_manifest: Any) -> None:
    manifest = make_manifest(
        [*rows(cat=30, dog=30), *[("dog", f"cat-{number}", None) for number in range(20)]]
    )
    for seed in range(5):
        check_no_leak(manifest, split_dataset(manifest, DEFAULT, seed))


def test_folders_that_came_split_are_kept(make_manifest: Any) -> None:
    content = [
        (label, f"{label}-{split}-{number}", split)
        for label in ("cat", "dog")
        for split in ("train", "valid", "test")
        for number in range(2)
    ]
    manifest = make_manifest(content)
    split = split_dataset(manifest, DEFAULT, 0)
    assert split == {item.id: item.split for item in manifest.items}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("train",), {"train": 70, "valid": 15, "test": 15}),
        (("train", "test"), {"train": 82, "valid": 18, "test": 100}),
        (("train", "valid"), {"train": 82, "valid": 100, "test": 18}),
    ],
)
def test_a_missing_valid_or_test_split_is_drawn_from_train(
    make_manifest: Any, given: tuple[str, ...], expected: dict[str, int]
) -> None:
    manifest = make_manifest(
        [(label, f"{label}-{s}-{n}", s) for label in ("cat", "dog") for s in given for n in range(50)]
    )
    split = split_dataset(manifest, DEFAULT, 0)
    assert Counter(split.values()) == expected
    assert all(split[item.id] == item.split for item in manifest.items if item.split != "train")


def test_copies_across_the_folders_are_left_out_of_train_and_valid(make_manifest: Any) -> None:
    content = [
        (label, f"{label}-{s}-{n}", s) for label in "ab" for s in ("train", "valid", "test") for n in range(3)
    ]
    leaks = [("a", "a-test-0", "train"), ("a", "a-test-1", "valid"), ("b", "b-valid-0", "train")]
    manifest = make_manifest([*content, *leaks])
    split = split_dataset(manifest, DEFAULT, 0)
    check_no_leak(manifest, split)
    assert Counter(split.values()) == {"train": 6, "valid": 6, "test": 6}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([("a", "1", "train"), ("b", "2", "train"), ("a", "1", "valid"), ("a", "1", "test")], "valid folder"),
        ([("a", "1", "train"), ("a", "2", "valid"), ("b", "3", "test")], "no image of its own for b"),
        ([("a", "1", "train"), ("b", "2", "train"), ("a", "3", "test")], "valid, train; too few in a, b"),
    ],
)
def test_split_folders_that_cannot_be_used_are_an_error(
    make_manifest: Any, content: list[tuple[str, str, str]], match: str
) -> None:
    with pytest.raises(SplitError, match=match) as caught:
        split_dataset(make_manifest(content), DEFAULT, 0)
    assert caught.value.hint


def test_a_hundred_thousand_pictures_in_a_thousand_classes_are_split(make_manifest: Any) -> None:
    sizes = np.random.default_rng(0).integers(3, 200, 1000)
    manifest = make_manifest(rows(**{f"c{index:04d}": int(size) for index, size in enumerate(sizes)}))
    split = split_dataset(manifest, DEFAULT, 0)
    assert len(split) == sizes.sum()
    assert Counter(split.values())["test"] == pytest.approx(0.15 * sizes.sum(), abs=1)


def grouped(manifest: DatasetManifest, keys: list[str | None]) -> DatasetManifest:
    return create_manifest([replace(item, group=key) for item, key in zip(manifest.items, keys, strict=True)])


def crossing(manifest: DatasetManifest, split: Mapping[str, str]) -> set[str]:
    homes: dict[str, set[str]] = {}
    for item in manifest.items:
        if item.id in split and item.group is not None:
            homes.setdefault(item.group, set()).add(split[item.id])
    return {key for key, home in homes.items() if len(home) > 1}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(st.none() | st.integers(0, 30), min_size=24, max_size=120),
    contents=st.integers(20, 200),
    seed=st.integers(0, 99),
)
def test_no_group_and_no_copy_crosses(
    make_manifest: Any, keys: list[int | None], contents: int, seed: int
) -> None:
    made = [("cat" if n % 2 else "dog", f"{n % contents}", None) for n in range(len(keys))]
    manifest = grouped(make_manifest(made), [None if key is None else str(key) for key in keys])
    try:
        split = split_dataset(manifest, DEFAULT, seed)
    except SplitError:  # so few groups that a class cannot be in each split
        return
    assert not crossing(manifest, split)
    check_no_leak(manifest, split)


def test_groups_stay_whole_near_the_ratios_unless_they_are_ignored(make_manifest: Any) -> None:
    manifest = make_manifest(rows(cat=100, dog=100))
    manifest = grouped(manifest, [f"part {number // 5}" for number in range(200)])
    split = split_dataset(manifest, DEFAULT, 0)
    assert not crossing(manifest, split)
    assert Counter(split.values()) == {"train": 140, "valid": 30, "test": 30}
    assert crossing(manifest, split_dataset(manifest, SplitSettings(ignore_groups=True), 0))


def test_a_class_of_too_few_groups_is_an_error_that_names_it(make_manifest: Any) -> None:
    manifest = make_manifest(rows(cat=10, dog=10))
    manifest = grouped(manifest, ["one part"] * 10 + [None] * 10)
    with pytest.raises(SplitError, match="class cat has 1 group") as caught:
        split_dataset(manifest, DEFAULT, 0)
    assert "ignore_groups" in (caught.value.hint or "")


def test_the_table_in_the_documents_is_what_is_drawn(make_manifest: Any) -> None:
    page = (Path(__file__).parents[2] / "docs/layouts.md").read_text(encoding="utf-8")
    table_rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert len(table_rows) >= 5
    for images, *counts in ([int(number) for number in row] for row in table_rows):
        manifest = make_manifest(rows(others=100, this=images))
        drawn = table(manifest, split_dataset(manifest, DEFAULT, 0))
        assert [drawn["this", split] for split in ("train", "valid", "test")] == counts
