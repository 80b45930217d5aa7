"""Tables beside the images that Loupe does not read: what is said names them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.errors import DatasetError

TABLES = ["labels.parquet", "_annotations.coco.json", "labels.txt", "labels.xlsx"]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "folders",
    [("{}",), ("images/{}",), ("train/{}", "valid/{}", "test/{}"), ("train/images/{}", "test/images/{}")],
)
def test_an_upload_without_class_folders_names_its_table(
    importer: Any, write_zip: Any, picture: Any, table: str, folders: tuple[str, ...]
) -> None:
    files = {
        folder.format(f"{number}.png"): picture(10 * index + number)
        for index, folder in enumerate(folders)
        for number in range(3)
    }
    place = folders[0].format(table)
    with pytest.raises(DatasetError, match=rf"not from tables such as '(.*/)?{table}'") as caught:
        importer(write_zip({**files, place: b"filename,label\n1.png,cat\n"}))
    assert caught.value.hint


def test_pictures_without_a_class_beside_a_table_are_an_advice_that_names_it(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes], picture: Any
) -> None:
    importer(write_zip({**two_classes, "7.png": picture(500), "labels.csv": b"7.png,cat\n"}))
    report = json.loads((importer.root / "dataset/report.json").read_text())
    assert report["tables"] == ["labels.csv"]
    assert any("'labels.csv'" in sentence for sentence in report["advice"])


def test_a_table_beside_pictures_that_all_have_a_class_is_no_advice(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes]
) -> None:
    importer(write_zip({**two_classes, "labels.csv": b"x"}))
    report = json.loads((importer.root / "dataset/report.json").read_text())
    assert report["tables"] == []


def test_advice_says_what_a_training_would_refuse(importer: Any, write_zip: Any, picture: Any) -> None:
    rare = {**{f"cat/{n}.png": picture(n) for n in range(5)}, "dog/1.png": picture(20)}
    split = {
        f"{split}/cat/{n}.png": picture(30 + n) for n, split in enumerate(["train", "train", "valid", "test"])
    }
    split |= {"valid/dog/1.png": picture(40), "test/dog/1.png": picture(41)}
    for files, said in (
        (rare, "too few in dog"),
        (split, "the train folder has no image of its own for dog"),
    ):
        importer(write_zip(files))
        report = json.loads((importer.root / "dataset/report.json").read_text())
        assert said in report["training_refused"]
        assert any(
            f"A training would be refused: {report['training_refused']}" in s for s in report["advice"]
        )
