from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from app.datasets.class_map import apply_class_map
from app.datasets.groups import find_groups
from app.datasets.layout import read_layout
from app.datasets.manifest import DatasetManifest, create_manifest, load_manifest
from app.datasets.revision import revise
from app.datasets.shared_groups import shared_with_training
from app.datasets.split import split_dataset
from app.errors import ChoiceNeededError, SplitError
from app.schemas.class_map import ClassMap
from app.schemas.dataset_edits import DatasetEdits
from app.schemas.hyperparameters import SplitSettings
from app.schemas.import_choices import ImportChoices


@pytest.mark.parametrize(
    ("names", "level", "group_by", "groups"),
    [
        (
            ["cat/a/1.png", "cat/2.png", "dog/a/3.png", "dog/b/c/4.png"],
            "top",
            "folder",
            ["a", None, "a", "b/c"],
        ),
        (["p1/cat/1.png", "p2/cat/2.png", "p2/dog/3.png"], "leaf", "folder", ["p1", "p2", "p2"]),
        (["train/cat/a/1.png", "test/cat/a/2.png", "test/dog/3.png"], None, "folder", ["a", "a", None]),
        (
            ["cat/part7_1.png", "dog/part7_2.png", "dog/x.png"],
            None,
            "(part[0-9]+)_",
            ["part7", "part7", None],
        ),
        (["cat/_1.png", "dog/ab_2.png"], None, "/([a-z]*)_", [None, "ab"]),
        (["cat/ä1.png", "dog/ß2.png"], None, r"/(\pL)", ["ä", "ß"]),
    ],
)
def test_images_are_grouped_by_folder_or_by_name(
    names: list[str], level: Any, group_by: str, groups: list[str | None]
) -> None:
    places = read_layout(names, set(), level).places
    found = find_groups(places, group_by)
    assert [found.get(name) for name in names] == groups


@pytest.mark.parametrize("group_by", ["folder", "(part[0-9]+)"])
def test_groups_that_no_image_has_are_an_error_that_shows_names(group_by: str) -> None:
    places = read_layout(["cat/1.png", "dog/2.png"], set()).places
    with pytest.raises(ChoiceNeededError, match=r"cat/1\.png") as caught:
        find_groups(places, group_by)
    assert "group_by" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "pattern",
    ["(", "part", "(a)(b)", "(?:a)", r"(a)\1", "(?=a)(b)", "(a{1000}){1000}", "(a" * 200],
)
def test_a_pattern_must_be_one_and_capture_one_thing(pattern: str) -> None:
    with pytest.raises(ValidationError):
        ImportChoices(group_by=pattern)


def test_no_pattern_takes_long() -> None:
    names = [f"cat/{'a' * 200}{number}.png" for number in range(2000)]
    places = read_layout([*names, "dog/b.png"], set()).places
    started = time.process_time()
    with pytest.raises(ChoiceNeededError):
        find_groups(places, "((?:a|aa|a?)+)+$")
    assert time.process_time() - started < 20  # where trying all ways would outlast the sun


def test_an_import_keeps_groups_and_reports_them(importer: Any, write_zip: Any, picture: Any) -> None:
    names = ["train/cat/p1_1.png", "train/cat/p2_1.png", "train/dog/p3_1.png", "train/dog/other.png"]
    names += ["test/cat/p1_2.png", "test/dog/p4_1.png"]
    files = {name: picture(number) for number, name in enumerate(names)}
    importer(write_zip(files), choices=ImportChoices(group_by="(p[0-9]+)_"))
    manifest = load_manifest(importer.root / "dataset")
    assert {item.name: item.group for item in manifest.items}["test/cat/p1_2.png"] == "p1"
    report = json.loads((importer.root / "dataset/report.json").read_text())
    assert report["groups"]["count"] == 4
    assert report["groups"]["largest"][0] == {"group": "p1", "images": 2}
    assert report["groups"]["without"] == ["train/dog/other.png"]
    assert report["groups"]["across_splits"] == ["p1"]
    advice = " ".join(report["advice"])
    assert "1 group is in more than one split: a training leaves the 1 test image of these out" in advice
    assert "1 image has no group" in advice
    importer(write_zip(files), "dataset/2")
    assert load_manifest(importer.root / "dataset/2").digest != manifest.digest


def in_groups(manifest: DatasetManifest, *keys: str | None) -> DatasetManifest:
    """The images in the order of the manifest, each with its group."""
    return create_manifest(replace(item, group=key) for item, key in zip(manifest.items, keys, strict=True))


CAME_SPLIT = [
    *(("cat", "c1", "test"), ("cat", "c2", "test"), ("cat", "c3", "train"), ("cat", "c4", "valid")),
    *(("dog", "d1", "test"), ("dog", "d2", "train"), ("dog", "d3", "valid")),
]


def test_test_images_of_a_group_that_is_learned_are_left_out_of_a_split_that_came(make_manifest: Any) -> None:
    manifest = in_groups(make_manifest(CAME_SPLIT), "p1", "p2", "p1", "p3", "p3", "p4", None)
    split = split_dataset(manifest, SplitSettings(), 0)
    by_content = {item.sha256: split.get(item.id) for item in manifest.items}
    assert by_content == {
        **{"c1": None, "c2": "test", "c3": "train", "c4": "valid"},
        **{"d1": None, "d2": "train", "d3": "valid"},
    }
    assert [item.sha256 for item in shared_with_training(manifest.items, split)] == ["c1", "d1"]
    ignoring = split_dataset(manifest, SplitSettings(ignore_groups=True), 0)
    assert len(ignoring) == 7
    assert [item.sha256 for item in shared_with_training(manifest.items, ignoring)] == ["c1", "d1"]


def test_a_test_folder_without_a_group_of_its_own_is_an_error(make_manifest: Any) -> None:
    manifest = in_groups(make_manifest(CAME_SPLIT), "p1", "p1", "p1", "p3", "p3", "p4", None)
    with pytest.raises(SplitError, match="every test image") as caught:
        split_dataset(manifest, SplitSettings(), 0)
    assert "ignore_groups" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "shares", [{"train": 0.5, "valid": 0.25, "test": 0.25}, {"train": 40, "valid": 20, "test": 20}]
)
def test_counts_and_ratios_of_grouped_images_are_near_what_was_asked(make_manifest: Any, shares: Any) -> None:
    rows = [("cat" if n % 2 else "dog", f"{n}", None) for n in range(100)]
    manifest = make_manifest(rows)
    manifest = in_groups(manifest, *(f"p{number % 33}" for number in range(100)))
    split = split_dataset(manifest, SplitSettings(**shares), 3)
    sizes = {name: list(split.values()).count(name) for name in ("train", "valid", "test")}
    total = 100 if shares["train"] < 1 else 1
    for name, share in shares.items():
        assert abs(sizes[name] - share * total) <= 4, sizes
    assert not shared_with_training(manifest.items, split)


def test_a_class_map_and_a_new_version_keep_groups(make_manifest: Any) -> None:
    manifest = in_groups(make_manifest(CAME_SPLIT), *"abcdefg")
    mapped = apply_class_map(manifest, ClassMap(merge={"pet": ("cat", "dog")}))
    revised = revise([manifest], DatasetEdits(relabel={manifest.items[0].id: "dog"}))
    for made in (mapped, revised):
        assert {item.sha256: item.group for item in made.items} == {
            item.sha256: item.group for item in manifest.items
        }
