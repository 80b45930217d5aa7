from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.datasets.differences import CHANGES, compare, count_changes
from app.datasets.export import export_folders
from app.datasets.manifest import DatasetManifest, create_manifest, load_manifest
from app.datasets.revision import revise
from app.errors import DatasetError, InvalidRequestError
from app.images.decode import deep_grey_note
from app.schemas.class_map import ClassMap
from app.schemas.dataset_edits import DatasetEdits

Rows = Sequence[tuple[str, str, str | None]]
CATS_AND_DOGS: Rows = [("cat", "c1", None), ("cat", "c2", None), ("dog", "d1", None), ("dog", "d2", None)]


def table(manifest: DatasetManifest) -> set[tuple[str, str, str]]:
    return {(item.label, item.name, item.sha256) for item in manifest.items}


def edits(**wanted: Any) -> DatasetEdits:
    return DatasetEdits.model_validate(wanted)


def test_images_leave_and_change_their_class_by_id_or_by_name(make_manifest: Any) -> None:
    old = make_manifest(CATS_AND_DOGS)
    cat, dog = old.items[0], old.items[3]
    new = revise([old], edits(remove=[cat.id], relabel={dog.name: "cat"}))
    assert table(new) == {
        ("cat", "cat/000001.png", "c2"),
        ("cat", "cat/000003.png", "d2"),
        ("dog", "dog/000002.png", "d1"),
    }
    assert len({item.id for item in old.items} & {item.id for item in new.items}) == 2


def test_classes_leave_merge_and_get_new_names_before_images_are_relabelled(make_manifest: Any) -> None:
    old = make_manifest([*CATS_AND_DOGS, ("fox", "f1", None)])
    wanted = edits(class_map={"drop": ["fox"], "merge": {"pet": ["dog"]}}, relabel={old.items[0].id: "pet"})
    new = revise([old], wanted)
    assert {(item.label, item.name) for item in new.items} == {
        ("pet", "pet/000000.png"),
        ("cat", "cat/000001.png"),
        ("pet", "pet/000002.png"),
        ("pet", "pet/000003.png"),
    }


def test_the_images_of_other_datasets_join_each_once(make_manifest: Any) -> None:
    old = make_manifest(CATS_AND_DOGS)
    other = make_manifest([("cat", "c1", None), ("cat", "c9", None), ("fox", "f1", None)])
    new = revise([old, other], edits())
    assert Counter(item.label for item in new.items) == {"cat": 3, "dog": 2, "fox": 1}
    names = {item.sha256: item.name for item in new.items}
    assert names["c1"] == "cat/000000.png"
    assert names["c2"] == "cat/000001.png"
    assert names["c9"].startswith("cat/000001~")  # another content under a name that is taken
    assert revise([old, other], edits()) == new


@pytest.mark.parametrize(
    ("name", "label", "new", "moved"),
    [
        ("cat/1.png", "cat", "dog", "dog/1.png"),
        ("cat/sub/1.png", "cat", "dog", "dog/sub/1.png"),
        ("animals/cat/1.png", "cat", "dog", "animals/dog/1.png"),
        ("animals/cat/1.png", "animals/cat", "animals/dog", "animals/dog/1.png"),
        ("1.png", "cat", "dog", "dog/1.png"),
    ],
)
@pytest.mark.parametrize("split", [None, "train"])
def test_a_relabelled_image_lies_in_the_folder_of_its_class(
    make_manifest: Any, name: str, label: str, new: str, moved: str, split: Any
) -> None:
    prefix = f"{split}/" if split else ""
    item = replace(make_manifest([(label, "c", split)]).items[0], name=prefix + name)
    [revised] = revise([create_manifest([item])], edits(relabel={item.id: new})).items
    assert revised.name == prefix + moved
    assert revised.split == split


def test_what_is_relabelled_is_exported_and_imported_under_its_new_class(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes], tmp_path: Any
) -> None:
    importer(write_zip(two_classes))
    old = load_manifest(importer.root / "dataset")
    new = revise([old], edits(relabel={"cat/0.png": "dog", "cat/1.png": "new class"}, remove=["dog/3.png"]))
    export_folders(new, None, importer.images, tmp_path / "out.tar", lambda *_: None)
    assert importer(tmp_path / "out.tar", "dataset/2")["digest"] == new.digest


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"remove": ["cat/9.png", "img_0"]}, "2 images are not in the dataset: 'cat/9.png', 'img_0'"),
        ({"relabel": {"cat/9.png": "dog"}}, "1 image is not in the dataset"),
        ({"relabel": {"cat/000000.png": "a\\b"}}, "cannot be the name of a class"),
        ({"relabel": {"cat/000000.png": "../dog"}}, "cannot be the name of a class"),
        ({"relabel": {"cat/000000.png": " dog"}}, "cannot be the name of a class"),
        ({"class_map": {"drop": ["fox"]}}, "does not have: fox"),
    ],
)
def test_what_is_not_there_or_cannot_be_is_named(make_manifest: Any, wanted: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        revise([make_manifest(CATS_AND_DOGS)], edits(**wanted))
    assert said in caught.value.detail
    assert caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"class_map": {"drop": ["cat", "dog"]}}, "no image would remain"),
        ({"relabel": {"cat/000000.png": "cat"}}, "nothing would change"),
    ],
)
def test_a_version_that_is_empty_or_the_same_is_an_error(make_manifest: Any, wanted: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        revise([make_manifest(CATS_AND_DOGS)], edits(**wanted))


def test_datasets_that_cannot_be_one_are_told_why(make_manifest: Any) -> None:
    old = make_manifest(CATS_AND_DOGS)
    with pytest.raises(DatasetError, match="came in train, valid and test folders"):
        revise([old, make_manifest([("cat", "c9", "train")])], edits())
    grey = [replace(item, notes=(deep_grey_note(None),)) for item in old.items]
    ranged = make_manifest([("cat", "c9", None)])
    ranged = create_manifest(ranged.items, (0, 4095))
    with pytest.raises(DatasetError, match="0-4095 and 0-65535"):
        revise([create_manifest(grey), ranged], edits())
    assert revise([old, ranged], edits()).pixel_range == (0, 4095)  # the old one holds no 16-bit greyscale


LABELS = st.sampled_from(["cat", "dog", "fox"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(LABELS, st.sampled_from([f"c{n}" for n in range(8)])), min_size=2, max_size=20),
    data=st.data(),
)
def test_the_differences_are_what_was_changed(
    make_manifest: Any, rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    old = make_manifest([(label, content, None) for label, content in rows])
    ids = [item.id for item in old.items]
    removed = data.draw(st.lists(st.sampled_from(ids), unique=True, max_size=len(ids) - 1))
    left = [identifier for identifier in ids if identifier not in removed]
    relabel = data.draw(st.dictionaries(st.sampled_from(left), LABELS))
    try:
        new = revise([old], edits(remove=removed, relabel=relabel))
    except DatasetError:  # nothing would change
        assert not removed
        assert all(old.items[ids.index(each)].label == label for each, label in relabel.items())
        return
    counts = count_changes(compare(old, new))
    assert len(new.items) == len(old.items) - len(removed)
    assert counts["removed"] - counts["added"] == len(removed)
    assert counts["added"] == counts["moved"] == 0
    assert counts["relabelled"] <= len(relabel)
    before = Counter((item.sha256, item.label) for item in old.items)
    after = Counter((item.sha256, item.label) for item in new.items)
    assert counts["relabelled"] + counts["removed"] == (before - after).total()
    back = count_changes(compare(new, old))
    assert (back["added"], back["removed"]) == (counts["removed"], counts["added"])
    assert not any(count_changes(compare(new, new)).values())


def test_an_image_whose_split_alone_differs_has_moved(make_manifest: Any) -> None:
    old = make_manifest([("cat", "c1", "train"), ("cat", "c1", "test"), ("dog", "d1", "train")])
    new = make_manifest([("cat", "c1", "train"), ("cat", "c1", "valid"), ("fox", "d1", "test")])
    found = {each.change: each for each in compare(old, new)}
    assert found.keys() == {"moved", "relabelled"}
    assert found["moved"].before is not None
    assert found["moved"].before.split == "test"
    assert found["moved"].item.split == "valid"
    assert set(count_changes([])) == set(CHANGES)


def test_the_class_map_of_a_version_is_that_of_trainings() -> None:
    assert DatasetEdits.model_fields["class_map"].annotation == ClassMap | None
