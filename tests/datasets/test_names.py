"""Names that are odd cost no import, no image, and are all listed; whatever the upload comes in."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.datasets.manifest import load_manifest
from app.datasets.names import Found, settle_names
from app.errors import StrictImportError, UnsafeArchiveError
from app.schemas.import_choices import ImportChoices

Entries = Sequence[tuple[str, bytes]]


def in_tar(entries: Entries, path: Path) -> Path:
    with tarfile.open(path, "w", encoding="utf-8", errors="surrogateescape") as archive:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def stand_in(number: int, length: int) -> str:
    return (hashlib.sha256(str(number).encode()).hexdigest() * 80)[:length]


def in_zip(entries: Entries, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (name, content) in enumerate(entries):
            # Written under a name of the same length, since zipfile writes no bytes that are not UTF-8.
            raw = os.fsencode(name)
            archive.writestr(zipfile.ZipInfo(stand_in(number, len(raw))), content)
    data = path.read_bytes()
    for number, (name, _) in enumerate(entries):
        raw = os.fsencode(name)
        data = data.replace(stand_in(number, len(raw)).encode(), raw, 2)
    path.write_bytes(data)
    return path


def in_folder(entries: Entries, path: Path) -> Path:
    for name, content in entries:
        target = Path(os.fsdecode(os.fsencode(path) + b"/" + os.fsencode(name)))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


READERS: dict[str, Callable[[Entries, Path], Path]] = {"tar": in_tar, "zip": in_zip, "folder": in_folder}


def report_of(importer: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((importer.root / "dataset/report.json").read_text())
    return report


def items_of(importer: Any) -> dict[str, str]:
    """Name → digest of each image; fails where two have one name."""
    items = load_manifest(importer.root / "dataset").items
    assert len({item.name for item in items}) == len({item.name.casefold() for item in items}) == len(items)
    return {item.name: item.sha256 for item in items}


def sound(picture: Any) -> list[tuple[str, bytes]]:
    words = ("Größe", "Prüfung", "Maß", "Höhe", "Öl", "äußerst")
    return [
        (f"{label}/{word}{number}.png", picture(100 * index + 10 * number + len(word)))
        for index, label in enumerate(("cat", "dog"))
        for number, word in enumerate(words)
    ]


ODD: dict[str, tuple[list[str], int]] = {
    "case": (["cat/1.png", "cat/1.PNG"], 1),
    "case of three": (["cat/1.png", "cat/1.PNG", "cat/1.Png"], 2),
    "composed and decomposed": (["cat/\u00e9.png", "cat/e\u0301.png"], 1),
    "composed and decomposed folders": (["\u00e9\u00e9/1.png", "e\u0301e\u0301/2.png"], 1),
    "a tab": (["cat/a\tb.png"], 1),
    "a line break": (["cat/a\nb.png", "cat/a\rb.png"], 2),
    "an escape sequence": (["cat/\x1b[31mb.png"], 1),
    "a later control character": (["cat/a\u0085b.png", "cat/a\u2028b.png"], 2),
    "a Latin-1 byte": (["cat/sch\udcf6n.png"], 1),
    "a Latin-1 byte in a folder": (["sch\udcf6n/1.png", "sch\udcf6n/2.png"], 2),
    "an escape that is there already": (["sch\udcf6n/1.png", "sch%F6n/2.png", "sch%F6n/1.png"], 1),
    "reserved": (["cat/con.png", "cat/NUL", "aux/1.png"], 3),
    "trailing dots and blanks": (["cat/1.png", "cat/1.png.", "cat/1.png ", "cat/ 1.png"], 3),
    "a long part": (["cat/" + "\u00e9" * 120 + ".png"], 0),
    "a percent sign": (["cat/100%25.png", "cat/50%.png"], 0),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ODD)
def test_an_odd_name_costs_no_picture_and_is_listed(
    importer: Any, picture: Any, tmp_path: Path, reader: str, kind: str
) -> None:
    names, listed = ODD[kind]
    entries = [*sound(picture), *((name, picture(1000 + index)) for index, name in enumerate(names))]
    result = importer(READERS[reader](entries, tmp_path / "upload"))
    report = report_of(importer)
    assert result["items"] == len(entries)
    assert set(items_of(importer).values()) == {hashlib.sha256(content).hexdigest() for _, content in entries}
    assert report["files"] == len(entries)
    assert report["totals"]["odd_names"] == len(report["odd_names"]) == listed
    assert all(entry["reason"] and entry["original"].isprintable() for entry in report["odd_names"])
    # A strict import gives the same reasons, and renames nothing.
    assert not any("renamed" in entry["reason"] for entry in report["odd_names"])
    assert all(name.isprintable() for name in items_of(importer))


@pytest.mark.parametrize("kind", ODD)
def test_names_do_not_depend_on_the_reader_or_the_order(
    importer: Any, picture: Any, tmp_path: Path, kind: str
) -> None:
    entries = [(name, picture(1000 + index)) for index, name in enumerate(ODD[kind][0])] + sound(picture)
    found = []
    for number, reader in enumerate(READERS.values()):
        random.Random(number).shuffle(entries)
        importer(reader(entries, tmp_path / str(number)))
        found.append(items_of(importer))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("reader", ["tar", "zip"])
def test_a_file_that_is_there_twice_is_kept_twice_only_if_it_differs(
    importer: Any, picture: Any, tmp_path: Path, reader: str
) -> None:
    twice = [("cat/1.png", picture(1)), ("cat/1.png", picture(2)), ("cat/1.png", picture(1))]
    hidden = [("cat/.x", b"1"), ("cat/.x", b"2")]
    damaged = [("cat/bad.png", b"1"), ("cat/bad.png", b"2")]
    entries = [*sound(picture), *twice, *hidden, *damaged]
    result = importer(READERS[reader](entries, tmp_path / "upload"))
    report = report_of(importer)
    assert result["items"] == len(entries) - 5
    assert {hashlib.sha256(picture(n)).hexdigest() for n in (1, 2)} <= set(items_of(importer).values())
    assert {"name": "cat/1.png", "reason": "there a second time, with the same content"} in report["skipped"]
    assert report["files"] == len(entries) == report["items"] + result["skipped"]
    assert len(report["corrupt"]) == 2


def test_links_are_left_out_and_named(importer: Any, picture: Any, tmp_path: Path) -> None:
    path = in_tar(sound(picture), tmp_path / "a.tar")
    with tarfile.open(path, "a") as archive:
        for name, kind in (("cat/soft.png", tarfile.SYMTYPE), ("cat/hard.png", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert importer(path)["skipped"] == 2
    reasons = {entry["name"]: entry["reason"] for entry in report_of(importer)["skipped"]}
    assert reasons["cat/soft.png"].startswith("a link to '/etc/passwd'")
    assert reasons["cat/hard.png"].startswith("a hard link to '/etc/passwd'")

    path = in_zip(sound(picture), tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("cat/soft.png")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert importer(path)["skipped"] == 1


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_hard_link_is_a_copy_of_the_file_that_it_names(
    importer: Any, picture: Any, tmp_path: Path, mode: Any
) -> None:
    with tarfile.open(tmp_path / "a.tar", mode) as archive:
        # One link comes before its file: the order does not matter.
        for name, target in (("cat/0.png", "cat/1.png"), ("dog/2.png", ""), ("cat/1.png", "")):
            member = tarfile.TarInfo(name)
            content = b"" if target else picture(len(name) + ord(name[0]))
            member.type, member.linkname = (tarfile.LNKTYPE if target else tarfile.REGTYPE), target
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (("dog/1.png", "cat/1.png"), ("dog/.x.png", "cat/1.png"), ("dog/3.png", "cat")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.LNKTYPE, target
            archive.addfile(member)
    importer(tmp_path / "a.tar")
    items = items_of(importer)
    assert set(items) == {"cat/0.png", "cat/1.png", "dog/1.png", "dog/2.png"}
    assert items["cat/0.png"] == items["cat/1.png"] == items["dog/1.png"] != items["dog/2.png"]
    reasons = {entry["name"]: entry["reason"] for entry in report_of(importer)["skipped"]}
    assert reasons == {
        "dog/.x.png": "hidden or system file",
        "dog/3.png": "a hard link to 'cat', which is no file of the archive",
    }


def test_hard_links_cannot_unpack_a_small_archive_out_of_proportion(
    importer: Any, picture: Any, tmp_path: Path
) -> None:
    path = in_tar([("cat/1.png", picture(1) + bytes(2**20)), ("dog/1.png", picture(2))], tmp_path / "a.tar")
    with tarfile.open(path, "a") as archive:
        for number in range(200):
            member = tarfile.TarInfo(f"cat/link{number}.png")
            member.type, member.linkname = tarfile.LNKTYPE, "cat/1.png"
            archive.addfile(member)
    with pytest.raises(UnsafeArchiveError, match="unpacks to more"):
        importer(path, max_ratio=100.0, ratio_from_bytes=2**20)


@pytest.mark.parametrize("reader", ["tar", "zip"])
def test_a_name_that_is_too_long_is_left_out(
    importer: Any, picture: Any, tmp_path: Path, reader: str
) -> None:
    entries = [*sound(picture), ("cat/" + "x" * 4096 + ".png", picture(1))]
    importer(READERS[reader](entries, tmp_path / "upload"))
    (skipped,) = report_of(importer)["skipped"]
    assert skipped["reason"] == "its name has 4,104 bytes, the limit is 1,024"
    assert len(skipped["name"]) < 200


@pytest.mark.parametrize("reader", READERS)
def test_a_strict_import_refuses_with_the_whole_list(
    importer: Any, picture: Any, tmp_path: Path, reader: str
) -> None:
    odd = {
        "cat/a\tb.png": picture(1),
        "cat/sch\udcf6n.png": picture(2),
        "cat/bad.png": b"x",
        "1.png": picture(3),
    }
    fine = {"cat/.DS_Store": b"x", "cat/notes.txt": b"text"}
    entries = [*sound(picture), *odd.items(), *fine.items(), ("Cat/1.png", picture(4))]
    path = READERS[reader](entries, tmp_path / "upload")
    with pytest.raises(StrictImportError, match="5 files or folders") as caught:
        importer(path, choices=ImportChoices(strict=True))
    assert [error.pointer for error in caught.value.errors] == [
        "1.png", "Cat and cat", "cat/a%09b.png", "cat/bad.png", "cat/sch%F6n.png",
    ]  # fmt: skip
    assert importer.left_behind == []
    assert importer(path)["items"] == len(sound(picture)) + 3


def test_a_strict_import_of_many_odd_names_lists_some_and_counts_all(
    importer: Any, picture: Any, write_tar: Any
) -> None:
    odd = {f"cat/a\t{number}.png": picture(1) for number in range(600)}
    path = write_tar({**odd, "dog/1.png": picture(2)})
    with pytest.raises(StrictImportError, match=r"600 files or folders.*first 500") as caught:
        importer(path, choices=ImportChoices(strict=True))
    assert len(caught.value.errors) == 500


def test_a_strict_import_takes_what_is_sound(importer: Any, picture: Any, tmp_path: Path) -> None:
    entries = [*sound(picture), ("cat/.DS_Store", b"x"), ("readme.md", b"text")]
    assert importer(in_tar(entries, tmp_path / "a"), choices=ImportChoices(strict=True))["items"] == 12


def test_one_legacy_name_does_not_change_how_the_others_are_read(
    importer: Any, picture: Any, tmp_path: Path
) -> None:
    entries = [*sound(picture), ("cat/stra\udcdfe.png", picture(1))]
    importer(in_zip(entries, tmp_path / "a.zip"))
    assert {name for name, _ in sound(picture)} | {"cat/stra%DFe.png"} == set(items_of(importer))


def test_a_name_that_the_chosen_encoding_cannot_read_is_escaped_where_it_is_one_of_many(
    importer: Any, picture: Any, tmp_path: Path
) -> None:
    entries = [*sound(picture), ("cat/stra\udcdfe.png", picture(1))]
    importer(in_zip(entries, tmp_path / "a.zip"), choices=ImportChoices(name_encoding="utf-8"))
    assert "cat/stra%DFe.png" in items_of(importer)


@pytest.mark.parametrize("reader", ["tar", "zip"])
@pytest.mark.parametrize("name", ["../x.png", "cat/../../x.png", "/etc/x.png", "..\\x.png", "C:\\x.png"])
def test_one_dangerous_name_refuses_the_import(
    importer: Any, picture: Any, tmp_path: Path, reader: str, name: str
) -> None:
    with pytest.raises(UnsafeArchiveError):
        importer(READERS[reader]([*sound(picture), (name, picture(1))], tmp_path / "upload"))


def test_a_hundred_thousand_twins_take_no_longer_than_others() -> None:
    same = [Found("cat/1.png", "cat/1.png", f"{number % 50_000}") for number in range(100_000)]
    settled = settle_names(same)
    assert len({name for name in settled.names if name}) == 50_000
