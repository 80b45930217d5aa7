"""Names in tars and folders that are no UTF-8, or have a backslash: a byte like any other there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.errors import ChoiceNeededError, StrictImportError
from app.schemas.import_choices import ImportChoices
from tests.datasets.test_names import Entries, in_folder, in_tar, in_zip, report_of

POSIX: dict[str, Callable[[Entries, Path], Path]] = {"tar": in_tar, "folder": in_folder}
every_reader = pytest.mark.parametrize("reader", POSIX)


def legacy(picture: Any, labels: list[str], encoding: str) -> Entries:
    return [
        (
            f"{label}/{number}.png".encode(encoding).decode("utf-8", "surrogateescape"),
            picture(10 * index + number),
        )
        for index, label in enumerate(labels)
        for number in range(4)
    ]


def classes(importer: Any, *arguments: Any, **options: Any) -> set[str]:
    return {entry["name"] for entry in importer(*arguments, **options)["classes"]}


@every_reader
def test_names_are_judged_together_as_those_of_a_zip(
    importer: Any, picture: Any, tmp_path: Path, reader: str
) -> None:
    labels = ["表良", "表傷", "良"]
    upload = POSIX[reader](legacy(picture, labels, "cp932"), tmp_path / "upload")
    assert classes(importer, upload) == set(labels)
    report = report_of(importer)
    assert report["name_encoding"] == "cp932"
    assert report["encoding_reason"] == "the upload declares none, and they read best as cp932"


@every_reader
def test_two_likely_readings_are_asked_about_and_the_choice_is_taken(
    importer: Any, picture: Any, tmp_path: Path, reader: str
) -> None:
    upload = POSIX[reader](legacy(picture, ["猫", "狗"], "gb18030"), tmp_path / "upload")
    with pytest.raises(ChoiceNeededError, match="gb18030: '猫', '狗'"):
        importer(upload)
    assert classes(importer, upload, choices=ImportChoices(name_encoding="gbk")) == {"猫", "狗"}


@every_reader
def test_latin1_class_folders_get_their_umlaut_or_are_asked_about(
    importer: Any, picture: Any, tmp_path: Path, reader: str
) -> None:
    labels = ["Köpfe", "Schräg", "gut"]
    upload = POSIX[reader](legacy(picture, labels, "latin-1"), tmp_path / "upload")
    assert classes(importer, upload) == set(labels)


def test_a_choice_leaves_a_tar_that_declares_utf8_alone(importer: Any, picture: Any, write_tar: Any) -> None:
    files = {f"{label}/{number}.png": picture(number) for label in ("猫", "狗") for number in range(4)}
    assert classes(importer, write_tar(files), choices=ImportChoices(name_encoding="cp932")) == {"猫", "狗"}


@every_reader
def test_a_backslash_separates_nothing_and_is_listed(
    importer: Any, picture: Any, tmp_path: Path, reader: str
) -> None:
    entries = [
        (f"{label}/{number}.png", picture(number)) for label in ("a\\b", "a\\c") for number in range(4)
    ]
    upload = POSIX[reader](entries, tmp_path / "upload")
    assert classes(importer, upload) == {"a%5Cb", "a%5Cc"}
    report = report_of(importer)
    assert report["totals"]["odd_names"] == len(entries)
    assert "backslash" in report["odd_names"][0]["reason"]
    with pytest.raises(StrictImportError, match="8 files or folders"):
        importer(upload, choices=ImportChoices(strict=True))


def test_in_a_zip_a_backslash_separates_folders(importer: Any, picture: Any, tmp_path: Path) -> None:
    entries = [(f"{label}\\{number}.png", picture(number)) for label in ("a", "b") for number in range(4)]
    assert classes(importer, in_zip(entries, tmp_path / "upload")) == {"a", "b"}


@every_reader
def test_an_advice_names_the_classes_that_could_not_keep_their_names(
    importer: Any, picture: Any, tmp_path: Path, reader: str
) -> None:
    names = [f"{label}/{number}.png" for label in ("a\tb", "cat") for number in range(4)]
    entries = [(name, picture(index)) for index, name in enumerate(names)]
    importer(POSIX[reader](entries, tmp_path / "upload"))
    report = report_of(importer)
    assert report["renamed_classes"] == [{"name": "a%09b", "original": "'a\\tb'"}]
    assert any("'a%09b' was 'a\\tb'" in advice for advice in report["advice"])
