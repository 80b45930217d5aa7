from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from app.datasets.manifest import image_path, load_manifest
from app.errors import DatasetError, StrictImportError, UnsafeArchiveError
from app.schemas.import_choices import ImportChoices
from tests.datasets.test_archives import encrypt


def report_of(importer: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((importer.root / "dataset/report.json").read_text())
    return report


def test_an_import_stores_the_originals_and_describes_them(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes]
) -> None:
    result = importer(write_zip(two_classes))
    manifest = load_manifest(importer.root / "dataset")
    assert result["classes"] == [{"name": "cat", "count": 4}, {"name": "dog", "count": 4}]
    assert (result["items"], result["skipped"], result["counts"]) == (8, 0, None)
    assert result["digest"] == manifest.digest
    for item in manifest.items:
        assert image_path(importer.images, item.sha256).read_bytes() == two_classes[item.name]
        assert (item.width, item.height, item.format, item.label) == (12, 10, "png", item.name.split("/")[0])
    assert importer.progress[-1] == (8, 1.0)
    assert importer.left_behind == []


def test_the_same_pictures_have_the_same_digest_however_they_come(
    importer: Any, write_zip: Any, write_tar: Any, write_folder: Any, two_classes: dict[str, bytes]
) -> None:
    wrapped = {f"some/folder/{name}": content for name, content in reversed(two_classes.items())}
    uploads = [
        write_zip(two_classes),
        write_zip(wrapped, "wrapped.zip"),
        write_tar(two_classes, "a.tar"),
        write_tar(wrapped, "a.tgz", "w:gz"),
        write_folder(two_classes),
    ]
    digests = {importer(upload, f"dataset/{number}")["digest"] for number, upload in enumerate(uploads)}
    assert len(digests) == 1
    ids = [[item.id for item in load_manifest(importer.root / f"dataset/{n}").items] for n in range(5)]
    assert all(each == ids[0] for each in ids)
    assert len(set(ids[0])) == 8
    assert sum(1 for path in importer.images.rglob("*") if path.is_file()) == 8


@pytest.mark.parametrize("change", ["content", "label", "split", "name"])
def test_any_change_of_a_picture_changes_the_digest(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes], picture: Any, change: str
) -> None:
    before = importer(write_zip({f"train/{name}": content for name, content in two_classes.items()}))
    content = two_classes.pop("cat/0.png")
    files = {f"train/{name}": data for name, data in two_classes.items()}
    files |= {
        "content": {"train/cat/0.png": picture(999)},
        "label": {"train/dog/0b.png": content},
        "split": {"test/cat/0.png": content},
        "name": {"train/cat/00.png": content},
    }[change]
    assert importer(write_zip(files), "dataset/2")["digest"] != before["digest"]


def test_folders_that_come_split_are_kept_and_counted(importer: Any, write_zip: Any, picture: Any) -> None:
    names = [
        f"{split}/{label}/{number}.png"
        for split, count in (("train", 3), ("val", 2), ("test", 1))
        for label in ("cat", "dog")
        for number in range(count)
    ]
    files = {name: picture(number) for number, name in enumerate(names)}
    result = importer(write_zip(files))
    assert result["counts"] == {"train": 6, "valid": 4, "test": 2}
    assert report_of(importer)["classes"][0]["splits"] == {"train": 3, "valid": 2, "test": 1}


def test_what_is_no_picture_or_damaged_is_left_out_with_its_reason(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes], picture: Any
) -> None:
    whole = picture(500)
    bad = {
        "cat/empty.jpg": b"",
        "cat/short.png": whole[: len(whole) // 2],
        "cat/fake.jpg": b"not an image at all",
        "cat/no-extension": whole[:60],
        "cat/notes.txt": b"some text",
        "cat/.DS_Store": b"x",
        "__MACOSX/cat/._0.png": b"x",
        "readme.md": b"# hello",
        "cover.png": picture(501),
    }
    result = importer(write_zip({**two_classes, **bad}))
    report = report_of(importer)
    assert result["items"] == 8
    assert result["skipped"] == len(bad)
    assert {entry["name"] for entry in report["corrupt"]} == {
        "cat/empty.jpg",
        "cat/short.png",
        "cat/fake.jpg",
        "cat/no-extension",
    }
    assert {entry["name"] for entry in report["skipped"]} == set(bad) - {
        entry["name"] for entry in report["corrupt"]
    }
    assert all(entry["reason"] for entry in report["corrupt"] + report["skipped"])
    stored = {path.name for path in importer.images.rglob("*") if path.is_file()}
    assert stored == {hashlib.sha256(content).hexdigest() for content in two_classes.values()}


def test_heic_avif_and_apng_are_imported_and_damaged_ones_are_counted(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes], picture: Any
) -> None:
    heic = (Path(__file__).parents[1] / "images/heic/gradient.heic").read_bytes()
    files = {
        "cat/a.heic": heic,
        "cat/b.avif": picture(600, "AVIF"),
        "cat/c.apng": picture(601),
        "cat/d.pjpeg": picture(602, "JPEG"),
        "cat/short.heic": heic[:500],
        "cat/short": picture(603, "AVIF")[:200],
    }
    result = importer(write_zip({**two_classes, **files}))
    report = report_of(importer)
    assert result["items"] == 12
    assert {entry["name"] for entry in report["corrupt"]} == {"cat/short.heic", "cat/short"}
    assert report["wrong_extensions"] == []
    assert report["classes"][0]["formats"] == {"png": 5, "heif": 1, "avif": 1, "jpeg": 1}


def test_wrong_extensions_do_not_matter_and_are_reported(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes], picture: Any
) -> None:
    files = {"cat/a.jpg": picture(1, "GIF"), "dog/b.png": picture(2, "JPEG"), "dog/c.JPG": picture(3, "MPO")}
    assert importer(write_zip({**two_classes, **files}))["items"] == 11
    assert report_of(importer)["wrong_extensions"] == [
        {"name": "cat/a.jpg", "format": "gif"},
        {"name": "dog/b.png", "format": "jpeg"},
    ]


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({}, "no image in a class folder"),
        ({"cat/notes.txt": b"text"}, "no image in a class folder.*notes.txt"),
        ({"cat/": b"", "dog/": b""}, "no image in a class folder"),
    ],
)
def test_an_upload_without_pictures_is_an_error(
    importer: Any, write_zip: Any, files: dict[str, bytes], match: str
) -> None:
    with pytest.raises(DatasetError, match=match) as caught:
        importer(write_zip(files))
    assert caught.value.hint
    assert importer.left_behind == []


def test_pictures_without_class_folders_are_an_error(importer: Any, write_zip: Any, picture: Any) -> None:
    with pytest.raises(DatasetError, match="lies in no class folder"):
        importer(write_zip({"1.png": picture(1), "2.png": picture(2)}))


def test_one_class_is_a_dataset_that_no_training_takes(importer: Any, write_zip: Any, picture: Any) -> None:
    importer(write_zip({"cat/1.png": picture(1), "cat/2.png": picture(2), "dog/": b""}))
    report = report_of(importer)
    assert report["training_refused"].startswith("there is one class only, cat")
    assert report["empty_classes"] == ["dog"]


def test_a_refused_archive_leaves_nothing_behind(
    importer: Any, write_tar: Any, two_classes: dict[str, bytes]
) -> None:
    with pytest.raises(UnsafeArchiveError):
        importer(write_tar({**two_classes, "../x.png": b"x"}))
    assert importer.left_behind == []
    assert not (importer.root / "dataset").exists()
    assert not importer.images.exists()


def test_a_full_disk_is_reported_as_such_and_leaves_nothing_behind(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full_after_three(path: Path, data: bytes) -> int:
        if path.name >= "00000003":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, data)

    source = write_zip(two_classes)
    monkeypatch.setattr(Path, "write_bytes", full_after_three)
    with pytest.raises(OSError, match="No space left") as caught:
        importer(source)
    assert caught.value.errno == errno.ENOSPC
    assert importer.left_behind == []
    assert not (importer.root / "dataset").exists()


def test_importing_again_mends_a_damaged_picture_in_the_store(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes]
) -> None:
    source = write_zip(two_classes)
    importer(source)
    stored = image_path(importer.images, hashlib.sha256(two_classes["cat/0.png"]).hexdigest())
    stored.write_bytes(b"\0" * len(two_classes["cat/0.png"]))
    importer(source)
    assert stored.read_bytes() == two_classes["cat/0.png"]


def test_an_import_that_was_killed_at_its_end_can_be_run_again(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes]
) -> None:
    source = write_zip(two_classes)
    (importer.root / "scratch").mkdir(parents=True)
    (importer.root / "scratch/00000000").write_bytes(b"from the attempt before")
    (importer.root / ".dataset.part").mkdir()
    assert importer(source) == importer(source)
    assert importer.left_behind == []


def test_two_imports_of_the_same_archive_at_once_both_succeed(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes]
) -> None:
    source = write_zip(two_classes)
    results: list[dict[str, Any]] = []
    others = [type(importer)(importer.root / "dataset" / str(number)) for number in range(2)]
    for other in others:
        other.images = importer.images
    threads = [threading.Thread(target=lambda run=run: results.append(run(source))) for run in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert results[0] == results[1]


def test_a_source_that_is_not_there_is_an_error(importer: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="neither a file nor a folder"):
        importer(tmp_path / "nothing")


def test_an_encrypted_entry_is_left_out_and_listed_and_refuses_a_strict_import(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes]
) -> None:
    path = encrypt(write_zip(two_classes), "cat/0.png")
    result = importer(path)
    assert (result["items"], result["skipped"]) == (7, 1)
    assert report_of(importer)["skipped"] == [
        {"name": "cat/0.png", "reason": "encrypted; pack it without a password"}
    ]
    with pytest.raises(StrictImportError) as caught:
        importer(path, "strictly", choices=ImportChoices(strict=True))
    assert [error.pointer for error in caught.value.errors] == ["cat/0.png"]
