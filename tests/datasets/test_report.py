from __future__ import annotations

import json
from typing import Any

import pytest

from app.datasets import report as report_module


@pytest.fixture
def report(importer: Any, write_zip: Any) -> Any:
    def create(files: dict[str, bytes]) -> dict[str, Any]:
        importer(write_zip(files))
        written: dict[str, Any] = json.loads((importer.root / "dataset/report.json").read_text())
        return written

    return create


def many(picture: Any, label: str, count: int, start: int, **options: Any) -> dict[str, bytes]:
    return {f"{label}/{number}.png": picture(start + number, **options) for number in range(count)}


def test_a_sound_dataset_gets_no_advice(report: Any, picture: Any) -> None:
    found = report({**many(picture, "cat", 20, 0), **many(picture, "dog", 20, 100)})
    assert found["advice"] == []
    assert found["totals"] == dict.fromkeys(found["totals"], 0)


def test_each_class_is_described(report: Any, picture: Any) -> None:
    files = {
        "cat/1.png": picture(1, size=(10, 20)),
        "cat/2.jpg": picture(2, "JPEG", size=(30, 5)),
        "cat/3.png": picture(3, size=(20, 8)),
        "dog/1.png": picture(4),
    }
    cat = report(files)["classes"][0]
    assert cat["count"] == 3
    assert cat["width"] == {"min": 10, "median": 20, "max": 30}
    assert cat["height"] == {"min": 5, "median": 8, "max": 20}
    assert cat["formats"] == {"png": 2, "jpeg": 1}
    assert cat["modes"] == {"RGB": 3}
    assert cat["bytes"] == sum(len(data) for name, data in files.items() if name.startswith("cat"))


def test_duplicates_and_conflicting_labels_are_found_by_content(report: Any, picture: Any) -> None:
    files = {**many(picture, "cat", 4, 0), **many(picture, "dog", 4, 10)}
    files["cat/copy.png"] = files["cat/0.png"]
    files["dog/other.png"] = files["cat/1.png"]
    found = report(files)
    assert sorted(found["duplicates"]) == [["cat/0.png", "cat/copy.png"], ["cat/1.png", "dog/other.png"]]
    assert found["conflicting_labels"] == [
        {
            "sha256": found["conflicting_labels"][0]["sha256"],
            "names": ["cat/1.png", "dog/other.png"],
            "labels": ["cat", "dog"],
        }
    ]
    copies = [[(image["name"], image["label"]) for image in group["images"]] for group in found["copies"]]
    assert sorted(copies) == [
        [("cat/0.png", "cat"), ("cat/copy.png", "cat")],
        [("cat/1.png", "cat"), ("dog/other.png", "dog")],
    ]
    assert "more than one class" in found["advice"][0]


def test_a_picture_in_two_splits_is_reported(report: Any, picture: Any) -> None:
    files = {f"train/{name}": data for name, data in many(picture, "cat", 3, 0).items()}
    files |= {f"train/{name}": data for name, data in many(picture, "dog", 3, 10).items()}
    files["test/cat/x.png"] = files["train/cat/0.png"]
    found = report(files)
    assert found["across_splits"] == [["test/cat/x.png", "train/cat/0.png"]]
    assert any("more than one split" in sentence for sentence in found["advice"])


def test_small_and_empty_classes_are_named(report: Any, picture: Any) -> None:
    files = {**many(picture, "cat", 5, 0), "dog/1.png": picture(50), "bird/": b"", "fish/a.txt": b"text"}
    files |= {"twin/1.png": picture(60), "twin/2.png": picture(60), "twin/3.png": picture(60)}
    found = report(files)
    assert found["empty_classes"] == ["bird", "fish"]
    assert found["small_classes"] == [
        {"name": "dog", "count": 1, "distinct": 1},
        {"name": "twin", "count": 3, "distinct": 1},
    ]
    assert any("dog, twin" in sentence for sentence in found["advice"])
    assert any("bird, fish" in sentence for sentence in found["advice"])


def test_imbalance_and_telltale_formats_are_pointed_out(report: Any, picture: Any) -> None:
    files = {**many(picture, "cat", 33, 0), **many(picture, "dog", 3, 100, file_format="BMP")}
    advice = " ".join(report(files)["advice"])
    assert "33 images, the smallest 3" in advice
    assert "file format" in advice


def test_conversions_are_counted(report: Any, picture: Any) -> None:
    files = {**many(picture, "cat", 3, 0), **many(picture, "dog", 3, 10, file_format="GIF")}
    assert report(files)["notes"] == {"palette expanded to RGB": 3}


def test_long_lists_are_cut_and_their_totals_are_not(
    report: Any, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "LISTED", 5)
    files = {**many(picture, "cat", 3, 0), **many(picture, "dog", 3, 10)}
    files |= {f"cat/{number}.txt": b"text" for number in range(9)}
    found = report(files)
    assert len(found["skipped"]) == 5
    assert found["totals"]["skipped"] == 9
