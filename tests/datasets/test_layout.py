from __future__ import annotations

from typing import Any

import pytest

from app.datasets.layout import read_layout
from app.errors import ChoiceNeededError, DatasetError


def places(*names: str, folders: tuple[str, ...] = ()) -> dict[str, tuple[str | None, str]]:
    layout = read_layout(names, folders)
    return {name: (place.split, place.label) for name, place in layout.places.items()}


def test_class_folders_give_the_labels() -> None:
    assert places("cat/1.png", "dog/1.png") == {"cat/1.png": (None, "cat"), "dog/1.png": (None, "dog")}


@pytest.mark.parametrize("wrapping", ["", "data/", "a/b/c/"])
def test_folders_that_wrap_everything_do_not_matter(wrapping: str) -> None:
    layout = read_layout([f"{wrapping}cat/1.png", f"{wrapping}dog/x/1.png"], ())
    assert sorted(place.name for place in layout.places.values()) == ["cat/1.png", "dog/x/1.png"]


def test_folders_below_a_class_folder_belong_to_the_class() -> None:
    found = places("cat/0.png", "cat/a/1.png", "cat/b/c/2.png", "dog/3.png", "fish/images/1.png")
    assert (found["cat/b/c/2.png"], found["fish/images/1.png"]) == ((None, "cat"), (None, "fish"))


@pytest.mark.parametrize("wrapping", ["", "data/"])
@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("train", "valid", "test"),
        ("training", "validation", "testing"),
        ("Train", "VAL", "Test"),
        ("training_set", "dev_set", "test_set"),
        ("seg_train", "seg_valid", "seg_test"),
        ("Training Data", "validation-data", "hold-out"),
        ("trainset", "valset", "testset"),
        ("train_images", "val_images", "holdout"),
        ("trn", "val", "tst"),
        ("train", "eval", "test"),
        ("train", "val", "evaluation"),
    ],
)
def test_split_folders_are_kept_in_all_their_spellings(
    wrapping: str, train: str, valid: str, test: str
) -> None:
    names = [f"{wrapping}{split}/{label}/1.png" for split in (train, valid, test) for label in ("cat", "dog")]
    found = places(*names)
    assert [found[name] for name in names] == [
        (split, label) for split in ("train", "valid", "test") for label in ("cat", "dog")
    ]


def test_a_single_train_folder_is_a_split_folder() -> None:
    assert places("data/train/cat/1.png", "data/train/dog/1.png")["data/train/cat/1.png"] == ("train", "cat")


def test_classes_may_be_called_like_splits_where_others_are_not() -> None:
    assert places("train/1.png", "bus/1.png")["train/1.png"] == (None, "train")


def test_pictures_outside_class_folders_are_skipped_with_a_reason() -> None:
    layout = read_layout(["cover.png", "cat/1.png", "dog/1.png"], ())
    assert layout.skipped == {"cover.png": "lies in no class folder"}
    layout = read_layout(["d/train/cat/1.png", "d/train/dog/1.png", "d/test/1.png", "d/x.png"], ())
    assert set(layout.skipped) == {"d/test/1.png", "d/x.png"}


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["train/cat/1.png", "test/cat/1.png", "birds/1.png"], "'birds'"),
        (["train/cat/1.png", "eval/cat/1.png", "birds/a/1.png"], "'birds'"),
        (["train/1.png", "test/1.png"], "directly in 'test', 'train'"),
        (["cat/train/1.png", "cat/test/1.png", "dog/train/1.png"], "not the other way round"),
    ],
)
def test_a_mixed_up_layout_says_what_was_seen_and_what_is_expected(names: list[str], match: str) -> None:
    with pytest.raises(DatasetError, match=match) as caught:
        read_layout(names, ())
    assert "class_level" in str(caught.value.hint)
    layout = read_layout(names, (), "top")
    assert {place.label for place in layout.places.values()} == {name.split("/")[0] for name in names}
    assert {place.split for place in layout.places.values()} == {None}


@pytest.mark.parametrize(
    "names",
    [
        ["Cat/1.png", "cat/2.png", "dog/3.png"],
        ["train/Cat/1.png", "test/cat/2.png", "train/dog/1.png"],
        ["cat./1.png", "cat/2.png", "dog/3.png"],
        ["cat/1.png", "cat\u00a0/2.png", "dog/3.png"],
        ["cat/1.png", "cat\u200b/2.png", "dog/3.png"],
    ],
)
def test_classes_whose_names_are_alike_are_different_classes_and_named(names: list[str]) -> None:
    layout = read_layout(names, ())
    assert len({place.label for place in layout.places.values()}) == 3
    assert [len(group) for group in layout.similar_classes] == [2]


def test_class_folders_without_a_picture_are_named() -> None:
    layout = read_layout(
        ["d/cat/1.png", "d/dog/1.png"], {"d", "d/cat", "d/dog", "d/bird", "d/fish/old", "other"}
    )
    assert layout.empty_classes == ("bird", "fish")
    layout = read_layout(["train/cat/1.png"], {"train", "train/cat", "train/bird", "test", "test/dog"})
    assert layout.empty_classes == ("bird", "dog")


def test_no_pictures_give_an_empty_layout() -> None:
    assert read_layout([], {"cat"}).places == {}


@pytest.mark.parametrize("inner", ["seg_train/seg_train", "train/train", "training_set/training_set"])
def test_doubled_folders_are_seen_through(inner: str) -> None:
    test = inner.replace("train", "test").replace("ing", "")
    found = places(*(f"{folder}/{label}/1.png" for folder in (inner, test) for label in "ab"))
    assert set(found.values()) == {(split, label) for split in ("train", "test") for label in "ab"}


def test_a_folder_that_wraps_the_classes_inside_each_split_is_seen_through() -> None:
    found = places(*(f"{split}/images/{label}/1.png" for split in ("train", "test") for label in "ab"))
    assert set(found.values()) == {(split, label) for split in ("train", "test") for label in "ab"}


def test_pictures_to_predict_beside_the_splits_are_left_out() -> None:
    names = ["seg_train/seg_train/a/1.png", "seg_train/seg_train/b/1.png", "seg_pred/seg_pred/1.png"]
    layout = read_layout(names, ())
    assert layout.skipped == {names[2]: "lies in a folder of images without labels"}
    assert {place.label for place in layout.places.values()} == {"a", "b"}


def test_one_folder_called_like_a_split_in_a_rare_spelling_only_wraps() -> None:
    assert set(places("test_data/cat/1.png", "test_data/dog/1.png").values()) == {
        (None, "cat"),
        (None, "dog"),
    }


FOLDS = [f"fold{fold}/{label}/{fold}.png" for fold in (1, 2, 3) for label in "ab"]
KINDS = ["animals/cat/1.png", "animals/dog/1.png", "plants/rose/1.png"]


@pytest.mark.parametrize(
    ("names", "readings"),
    [
        (FOLDS, {"top: 3 classes ('fold1' 2, 'fold2' 2, 'fold3' 2)", "leaf: 2 classes ('a' 3, 'b' 3)"}),
        (
            KINDS,
            {
                "top: 2 classes ('animals' 2, 'plants' 1)",
                "leaf: 3 classes ('cat' 1, 'dog' 1, 'rose' 1)",
                "path: 3 classes ('animals/cat' 1, 'animals/dog' 1, 'plants/rose' 1)",
            },
        ),
        ([f"train/{name}" for name in KINDS] + [f"test/{name}" for name in KINDS], set()),
    ],
)
def test_folders_of_several_levels_ask_which_are_the_classes(names: list[str], readings: set[str]) -> None:
    with pytest.raises(ChoiceNeededError) as asked:
        read_layout(names, ())
    assert readings <= {error.message for error in asked.value.errors}
    assert "class_level" in str(asked.value.hint)


@pytest.mark.parametrize(
    ("level", "labels"),
    [
        ("top", {"animals", "plants"}),
        ("leaf", {"cat", "dog", "rose"}),
        ("path", {"animals/cat", "animals/dog", "plants/rose"}),
    ],
)
def test_the_level_that_was_chosen_gives_the_classes(level: Any, labels: set[str]) -> None:
    layout = read_layout([f"d/{name}" for name in KINDS], ["d/plants/oak"], level)
    assert {place.label for place in layout.places.values()} == labels
    assert layout.empty_classes == {"top": (), "leaf": ("oak",), "path": ("plants/oak",)}[level]


VEHICLES = ["train/front/1.png", "train/side/1.png", "bus/front/1.png", "bus/side/1.png"]


def test_a_class_that_is_called_like_a_split_is_asked_about() -> None:
    with pytest.raises(ChoiceNeededError, match="beside 'train' there are images in 'bus'") as asked:
        read_layout(VEHICLES, ())
    readings = {error.message for error in asked.value.errors}
    assert {"top: 2 classes ('bus' 2, 'train' 2)", "leaf: 2 classes ('front' 2, 'side' 2)"} <= readings
    assert "If it is a split: move these folders" in str(asked.value.hint)


@pytest.mark.parametrize(
    ("level", "labels"),
    [
        ("top", {"train", "bus"}),
        ("leaf", {"front", "side"}),
        ("path", {"train/front", "train/side", "bus/front", "bus/side"}),
    ],
)
def test_a_level_that_was_chosen_makes_classes_of_folders_that_cannot_be_splits(
    level: Any, labels: set[str]
) -> None:
    layout = read_layout(VEHICLES, (), level)
    assert {place.label for place in layout.places.values()} == labels
    assert {place.split for place in layout.places.values()} == {None}


def test_a_level_that_was_chosen_leaves_real_splits_alone() -> None:
    names = [f"{split}/{name}" for split in ("train", "test") for name in KINDS]
    layout = read_layout(names, (), "leaf")
    assert {place.split for place in layout.places.values()} == {"train", "test"}


@pytest.mark.parametrize("name", ["eval", "evaluation", "trn", "tst"])
def test_a_rare_name_of_a_split_is_a_class_where_no_split_lies_beside_it(name: str) -> None:
    assert set(places(f"{name}/a/1.png", "bus/1.png").values()) == {(None, name), (None, "bus")}


def test_evaluation_beside_train_alone_is_the_test_split() -> None:
    found = places("train/a/1.png", "train/b/1.png", "evaluation/a/1.png", "evaluation/b/1.png")
    assert found["evaluation/a/1.png"] == ("test", "a")
