"""Tables of labels: what they say, and what is said of those that are wrong."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.datasets.labels import Row, read_table
from app.datasets.manifest import load_manifest
from app.errors import ChoiceNeededError, DatasetError, StrictImportError
from app.schemas.import_choices import ImportChoices

NAMES = [f"{number}.png" for number in range(6)]
LABELS = ["cat", "dog"] * 3
PLAIN = "file_name,label\n" + "".join(f"{name},{label}\n" for name, label in zip(NAMES, LABELS, strict=True))
ROBOFLOW = "filename, cat, dog\n" + "".join(
    f"{name}, {int(label == 'cat')}, {int(label == 'dog')}\n"
    for name, label in zip(NAMES, LABELS, strict=True)
)
JSON_LINES = "".join(
    json.dumps({"file_name": name, "label": label}) + "\n" for name, label in zip(NAMES, LABELS, strict=True)
)


@pytest.fixture(params=["zip", "tar", "folder"])
def upload(request: pytest.FixtureRequest, write_zip: Any, write_tar: Any, write_folder: Any) -> Any:
    return {"zip": write_zip, "tar": write_tar, "folder": write_folder}[request.param]


@pytest.fixture(scope="module")
def images(picture: Any) -> dict[str, bytes]:
    return {name: picture(number) for number, name in enumerate(NAMES)}


def described(importer: Any) -> dict[str, tuple[str, str | None, str | None]]:
    items = load_manifest(importer.root / "dataset").items
    return {item.name: (item.label, item.split, item.group) for item in items}


@pytest.mark.parametrize("folder", ["", "images/", "wrap/images/"])
@pytest.mark.parametrize(
    ("table", "content"),
    [("labels.csv", PLAIN), ("_classes.csv", ROBOFLOW), ("metadata.jsonl", JSON_LINES)],
)
def test_a_flat_folder_with_a_table_becomes_a_dataset(
    importer: Any, upload: Any, images: dict[str, bytes], folder: str, table: str, content: str
) -> None:
    files = {f"{folder}{name}": image for name, image in images.items()}
    importer(upload({**files, f"{folder}{table}": content.encode()}))
    expected = {f"{label}/{name}": (label, None, None) for name, label in zip(NAMES, LABELS, strict=True)}
    assert described(importer) == expected
    report = json.loads((importer.root / "dataset/report.json").read_text())
    assert report["labels_from"] == [f"{folder}{table}"]


def test_tables_of_split_folders_say_their_own_images(importer: Any, write_zip: Any, picture: Any) -> None:
    files: dict[str, bytes] = {}
    for number, split in enumerate(("train", "valid", "test")):
        files |= {f"{split}/{name}": picture(10 * number + index) for index, name in enumerate(NAMES)}
        files[f"{split}/_classes.csv"] = ROBOFLOW.encode()
    result = importer(write_zip(files))
    assert result["counts"] == {"train": 6, "valid": 6, "test": 6}
    assert described(importer)["valid/dog/1.png"] == ("dog", "valid", None)


def test_split_and_group_come_from_their_columns(
    importer: Any, write_zip: Any, images: dict[str, bytes]
) -> None:
    splits = ["train", "Training", "val", "valid", "test", "TEST"]
    rows = "\n".join(
        f"img\\{name};{label};{split};part {number // 2}"
        for number, (name, label, split) in enumerate(zip(NAMES, LABELS, splits, strict=True))
    )
    files = {f"data/img/{name}": image for name, image in images.items()}
    importer(write_zip({**files, "data/labels.csv": f"Path;Class;Split;Group\n{rows}\n".encode("utf-16")}))
    assert described(importer) == {
        "train/cat/0.png": ("cat", "train", "part 0"),
        "train/dog/1.png": ("dog", "train", "part 0"),
        "valid/cat/2.png": ("cat", "valid", "part 1"),
        "valid/dog/3.png": ("dog", "valid", "part 1"),
        "test/cat/4.png": ("cat", "test", "part 2"),
        "test/dog/5.png": ("dog", "test", "part 2"),
    }


def test_paths_from_the_outermost_folder_and_their_splits_are_read(
    importer: Any, write_zip: Any, images: dict[str, bytes]
) -> None:
    homes = ["train", "train", "valid", "valid", "test", "test"]
    paths = [f"{home}/{name}" for home, name in zip(homes, NAMES, strict=True)]
    rows = "".join(f"{path},{label}\n" for path, label in zip(paths, LABELS, strict=True))
    files = dict(zip(paths, images.values(), strict=True))
    result = importer(write_zip({**files, "metadata.csv": f"file_name,label\n{rows}".encode()}))
    assert result["counts"] == {"train": 2, "valid": 2, "test": 2}


def test_what_no_row_names_is_left_out_and_listed(
    importer: Any, write_zip: Any, images: dict[str, bytes], picture: Any
) -> None:
    files = {**images, "extra.png": picture(77), "labels.csv": (PLAIN + "broken.png,cat\n").encode()}
    files["broken.png"] = picture(78)[:40]
    importer(write_zip(files))
    report = json.loads((importer.root / "dataset/report.json").read_text())
    assert {"name": "extra.png", "reason": "no row of the table names it"} in report["skipped"]
    assert [entry["name"] for entry in report["corrupt"]] == ["broken.png"]
    with pytest.raises(StrictImportError, match=r"extra\.png|2 "):
        importer(write_zip(files), choices=ImportChoices(strict=True))


def test_twins_get_the_same_names_from_every_kind_of_archive(
    importer: Any, write_zip: Any, write_tar: Any, picture: Any
) -> None:
    files = {"b/1.png": picture(1), "a/1.png": picture(2), "a/2.png": picture(3)}
    table = b"path,label\na/1.png,cat\nb/1.png,cat\na/2.png,dog\n"
    first = importer(write_zip({**files, "labels.csv": table}), choices=ImportChoices(labels="labels.csv"))
    turned = dict(reversed(files.items()))
    again = importer(
        write_tar({"labels.csv": table, **turned}), "dataset/2", choices=ImportChoices(labels="labels.csv")
    )
    assert first["digest"] == again["digest"]
    names = {item.sha256: item.name for item in load_manifest(importer.root / "dataset").items}
    assert sorted(names.values())[0] == "cat/1.png"


def test_a_folder_of_one_class_beside_a_table_of_other_things_says_how_to_take_it(
    importer: Any, write_zip: Any, picture: Any
) -> None:
    files = write_zip(
        {"good/1.png": picture(1), "good/2.png": picture(2), "notes.csv": b"day,weather\n1,sun\n"}
    )
    with pytest.raises(DatasetError) as caught:
        importer(files)
    assert "loupe dataset import PRODUCT PATH --labels folders" in (caught.value.hint or "")
    importer(files, choices=ImportChoices(labels="folders"))
    assert {label for label, _, _ in described(importer).values()} == {"good"}


def test_a_name_may_hold_a_comma(importer: Any, write_zip: Any, images: dict[str, bytes]) -> None:
    table = 'file_name,label\n0.png,"screw, M3"\n1.png,"screw, M4"\n2.png,screw\n'
    importer(write_zip({**images, "labels.csv": table.encode()}))
    assert {label for label, _, _ in described(importer).values()} == {"screw, M3", "screw, M4", "screw"}


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("labels.csv", "sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n")),
        ("labels.csv", PLAIN.replace(".png", ".PNG")),
        ("labels.csv", PLAIN.replace("\n", "\n.\\")[:-2]),
        ("tables/labels.csv", PLAIN.replace("\n", "\n../")[:-3]),
    ],
    ids=["Excel's first line", "upper case", "Windows' folders", "a folder above the table's"],
)
def test_paths_are_read_as_other_tools_write_them(
    importer: Any, write_zip: Any, images: dict[str, bytes], table: str, content: str
) -> None:
    importer(write_zip({**images, table: content.encode()}))
    assert [label for label, _, _ in described(importer).values()].count("cat") == 3
    assert len(described(importer)) == len(NAMES)


@pytest.mark.parametrize(
    ("prefix", "folder", "hint"),
    [
        (
            "/home/anna/data/",
            "images/",
            "The upload has 'images/0.png': take '/home/anna/data/' off the paths.",
        ),
        ("C:\\data\\", "images/", "The upload has 'images/0.png': take 'C:/data/' off the paths."),
        ("data/", "images/", "The upload has 'images/0.png': take 'data/' off the paths."),
        ("", "", "The upload has 'images/0.png': give the paths so."),
        ("", "nowhere/", "Pack the images with the table"),
    ],
)
def test_paths_from_elsewhere_are_listed_and_the_hint_says_what_is_too_much(
    importer: Any, write_zip: Any, images: dict[str, bytes], prefix: str, folder: str, hint: str
) -> None:
    placed = {f"images/{name}": image for name, image in images.items()}
    names = [name if folder != "nowhere/" else f"away-{name}" for name in NAMES]
    table = "file_name,label\n" + "".join(f"{prefix}{folder}{name},cat\n" for name in names)
    with pytest.raises(DatasetError) as caught:
        importer(write_zip({**placed, "labels.csv": table.encode()}))
    assert (caught.value.hint or "").startswith(hint)
    assert [error.pointer for error in caught.value.errors] == [f"labels.csv:{line}" for line in range(2, 8)]


@pytest.mark.parametrize(("cat", "dog"), [("cat", "dog"), ("0", "1")])
def test_a_table_beside_class_folders_that_says_otherwise_is_an_advice(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes], cat: str, dog: str
) -> None:
    labels = [cat if name.startswith("cat") else dog for name in two_classes]
    rows = [f"{name},{label}\n" for name, label in zip(two_classes, labels, strict=True)]
    importer(write_zip({**two_classes, "labels.csv": ("file_name,label\n" + "".join(rows)).encode()}))
    assert json.loads((importer.root / "dataset/report.json").read_text())["labels_disagree"] == []

    first, *_ = two_classes
    rows[0] = f"{first},{dog if labels[0] == cat else cat}\n"
    importer(
        write_zip({**two_classes, "labels.csv": ("file_name,label\n" + "".join(rows)).encode()}), "dataset/2"
    )
    report = json.loads((importer.root / "dataset/2/report.json").read_text())
    (found,) = report["labels_disagree"]
    assert (found["rows"], found["of"], found["line"], found["image"]) == (1, len(two_classes), 2, first)
    assert any(f"such as '{first}'" in each and "--labels labels.csv" in each for each in report["advice"])


def test_a_table_may_say_one_class(importer: Any, write_zip: Any, images: dict[str, bytes]) -> None:
    importer(write_zip({**images, "labels.csv": PLAIN.replace("dog", "cat").encode()}))
    assert {label for label, _, _ in described(importer).values()} == {"cat"}


def test_class_folders_go_before_a_table_unless_it_is_named(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes]
) -> None:
    rows = "".join(f"{name},{'a' if 'cat' in name else 'b'}\n" for name in two_classes)
    files = {**two_classes, "labels.csv": f"file_name,label\n{rows}".encode()}
    importer(write_zip(files))
    assert {label for label, _, _ in described(importer).values()} == {"cat", "dog"}
    importer(write_zip(files), choices=ImportChoices(labels="labels.csv"))
    assert {label for label, _, _ in described(importer).values()} == {"a", "b"}


def test_two_tables_of_one_folder_are_a_question_and_folders_an_answer(
    importer: Any, write_zip: Any, images: dict[str, bytes]
) -> None:
    other = PLAIN.replace("cat", "x").replace("dog", "y")
    files = write_zip({**images, "a.csv": PLAIN.encode(), "b.csv": other.encode()})
    with pytest.raises(ChoiceNeededError, match=r"'a\.csv', 'b\.csv'"):
        importer(files)
    importer(files, choices=ImportChoices(labels="b.csv"))
    assert {label for label, _, _ in described(importer).values()} == {"x", "y"}
    with pytest.raises(DatasetError, match="no image in a class folder"):
        importer(files, choices=ImportChoices(labels="folders"))
    with pytest.raises(DatasetError, match=r"no table 'c\.csv'") as caught:
        importer(files, choices=ImportChoices(labels="c.csv"))
    assert "'a.csv', 'b.csv'" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            PLAIN + "9.png,cat\n8.png,dog\n",
            "2 rows of the table name files that are not in the upload",
        ),
        (PLAIN + "9.png,cat\n", "1 row of the table names a file that is not in the upload: '9.png'"),
        (PLAIN + "../0.png,cat\n", "line 8 of 'labels.csv' names '../0.png'"),
        (PLAIN + "/a/0.png,cat\n~/1.png,cat\n8.png,cat\n", "no path in the upload (1 other row too)"),
        ('a,label,file_name\n"two\nlines",cat,0.png\n"two\nlines",cat,9.png,\n', "line 4 of 'labels.csv'"),
        ("file_name,label\n", "has no row that names an image"),
        (PLAIN + "/etc/0.png,cat\n", "line 8"),
        (PLAIN + "C:\\0.png,cat\n", "line 8"),
        (PLAIN + "~root/0.png,cat\n", "line 8"),
        (PLAIN + ",cat\n", "line 8"),
        (PLAIN + "0.png,dog\n", "'0.png' is there twice, as 'cat' in line 2"),
        (PLAIN + "0.png,cat,more\n", "line 8 of 'labels.csv' has 3 cells where the header has 2"),
        (PLAIN + '"0.png,cat\n', "is no CSV"),
        (PLAIN + f"{'x' * 200_000},cat\n", "is no CSV"),
        (PLAIN.replace("cat", "../cat"), "line 2 of 'labels.csv' has the class '../cat'"),
        (PLAIN.replace("cat", "c" * 300), "which has a part of more than 255 bytes"),
        (PLAIN.replace("label\n", "colour\n"), "its columns are 'file_name', 'colour'"),
        (
            ROBOFLOW.replace("0.png, 1, 0", "0.png, 1, 1"),
            "line 2 of 'labels.csv' gives an image several",
        ),
        (ROBOFLOW.replace("0.png, 1, 0", "0.png, 7, 1"), "does not say which image has which class"),
        ("file_name,label,split\n0.png,cat,holiday\n", "line 2 of 'labels.csv' has the split 'holiday'"),
        ("file_name,label,split\n0.png,cat,test\n1.png,dog,\n", "gives some images a split and others none"),
        ("", "its columns are none"),
        (
            "file_name,label\n0.png,cat\n1.png,dog\n2.png,cat;dog\n",
            "line 4 of 'labels.csv' gives an image several",
        ),
        ("file_name,label\n0.png,cat|dog\n", "several classes: 'cat', 'dog'"),
        (
            'file_name,label\n0.png,cat\n1.png,dog\n2.png,"cat, dog"\n',
            "line 4 of 'labels.csv' gives an image several",
        ),
        (
            'file_name,label\n0.png,"cat,dog"\n1.png,"dog,bird"\n',
            "line 2 of 'labels.csv' gives an image several",
        ),
        ("\0\0\0\0,label\n", "is no text"),
    ],
)
def test_a_table_that_is_wrong_says_where(
    importer: Any, write_zip: Any, images: dict[str, bytes], content: str, said: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        importer(write_zip({**images, "labels.csv": content.encode()}))
    assert said in caught.value.detail
    assert caught.value.hint
    assert importer.left_behind == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"file_name": "0.png", "label": ["cat", "dog"]}', "gives an image several classes: 'cat', 'dog'"),
        ('{"file_name": "0.png", "label": {"id": 1}}', "has a label that is an object"),
        ('{"label": "cat"}', "does not say which image"),
        ("[1]", "is no JSON object"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_a_json_line_that_is_wrong_says_where(line: str, said: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_table("m.jsonl", f"{JSON_LINES}{line}\n".encode())
    assert said in caught.value.detail


def test_labels_of_json_may_be_numbers_or_lists_of_one() -> None:
    table = read_table("m.jsonl", b'{"image": "a", "label": 3}\n\n{"image": "b", "label": ["x"]}\n')
    assert table.rows == (Row(1, "a", "3"), Row(3, "b", "x"))


CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029|;,")
CELLS = st.text(CHARACTERS, min_size=1, max_size=20).map(str.strip).filter(bool)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=20), st.sampled_from(",;\t"))
def test_rows_that_were_written_are_read_back(rows: list[tuple[str, str]], delimiter: str) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter)
    writer.writerows([("file_name", "label"), *rows])
    found = read_table("t.csv", buffer.getvalue().encode())
    assert [(row.path, row.label) for row in found.rows] == rows
    lines = "".join(json.dumps({"path": path, "class": label}) + "\n" for path, label in rows)
    assert [(row.path, row.label) for row in read_table("t.jsonl", lines.encode()).rows] == rows


def test_many_rows_are_read_in_proportion() -> None:
    started = time.process_time()
    table = read_table("t.csv", b"file_name,label\n" + b"images/000001.jpg,good\n" * 200_000)
    assert len(table.rows) == 200_000
    assert time.process_time() - started < 30
