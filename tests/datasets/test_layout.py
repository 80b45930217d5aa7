from __future__ import annotations

import pytest

from app.datasets.layout import read_layout
from app.errors import DatasetError


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
    assert places("cat/a/1.png", "cat/b/c/2.png", "dog/3.png")["cat/b/c/2.png"] == (None, "cat")


@pytest.mark.parametrize("wrapping", ["", "data/"])
@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [("train", "valid", "test"), ("training", "validation", "testing"), ("Train", "VAL", "Test")],
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
        (["train/1.png", "test/1.png"], "directly in 'test', 'train'"),
        (["cat/train/1.png", "cat/test/1.png", "dog/train/1.png"], "not the other way round"),
        (["Cat/1.png", "cat/2.png"], "'Cat' and 'cat' differ only by case"),
        (["train/Cat/1.png", "test/cat/2.png"], "'Cat' and 'cat' differ only by case"),
    ],
)
def test_a_mixed_up_layout_says_what_was_seen_and_what_is_expected(names: list[str], match: str) -> None:
    with pytest.raises(DatasetError, match=match) as caught:
        read_layout(names, ())
    assert caught.value.hint


def test_class_folders_without_a_picture_are_named() -> None:
    layout = read_layout(
        ["d/cat/1.png", "d/dog/1.png"], {"d", "d/cat", "d/dog", "d/bird", "d/fish/old", "other"}
    )
    assert layout.empty_classes == ("bird", "fish")
    layout = read_layout(["train/cat/1.png"], {"train", "train/cat", "train/bird", "test", "test/dog"})
    assert layout.empty_classes == ("bird", "dog")


def test_no_pictures_give_an_empty_layout() -> None:
    assert read_layout([], {"cat"}).places == {}
