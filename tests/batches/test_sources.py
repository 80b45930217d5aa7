"""What images come from is walked once before an image is read, and each time in the same order."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.batches.sources import ArchiveImages
from app.batches.spec import ArchiveInput
from app.datasets.sources import Limits
from app.errors import ArchiveError, DatasetError
from tests.pictures import make_files, make_legacy_zip, make_zip

FILES = make_files(2)
MIB = 2**20


def make_tar(files: dict[str, bytes], mode: str = "w", **entry: Any) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if entry:
            info = tarfile.TarInfo("odd.png")
            for name, value in entry.items():
                setattr(info, name, value)
            tar.addfile(info)
    return output.getvalue()


def open_images(folder: Path, archive: bytes, **options: Any) -> ArchiveImages:
    (folder / "archive").write_bytes(archive)
    return ArchiveImages(ArchiveInput(path=folder / "archive", **options), lambda: None)


HOSTILE = {
    "empty": (make_zip({}), "bad_archive", "no file in the archive"),
    "no archive": (b"text", "bad_archive", "is not a zip"),
    "nothing": (b"", "bad_archive", "0 bytes"),
    "absolute": (make_tar({**FILES, "/etc/passwd.png": b"x"}), "unsafe_archive", "absolute path"),
    "escape": (make_tar({**FILES, "a/../../b.png": b"x"}), "unsafe_archive", "points outside"),
    "device": (make_tar(FILES, type=tarfile.CHRTYPE), "unsafe_archive", "device"),
    "cut short": (make_tar(FILES)[:5000], "bad_archive", "damaged or cut short"),
    "cut short gz": (make_tar(FILES, "w:gz")[:-20], "bad_archive", "damaged or cut short"),
    "bomb": (make_tar({"a.png": bytes(80 * MIB)}, "w:gz"), "unsafe_archive", "unpacks to more than"),
    "many": (make_zip({f"{n}.png": b"" for n in range(9)}), "unsafe_archive", "more than 8 entries"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_that_does_harm_anywhere_is_refused_before_an_image_is_read(
    tmp_path: Path, case: str
) -> None:
    archive, code, detail = HOSTILE[case]
    with pytest.raises(DatasetError, match=detail) as refused:
        open_images(tmp_path, archive, limits=Limits(max_entries=8))
    assert refused.value.code == code
    assert refused.value.hint


@pytest.mark.parametrize("archive", [make_zip(FILES), make_tar(FILES), make_tar(FILES, "w:gz")])
def test_the_rest_of_an_archive_is_the_rest_of_the_whole(tmp_path: Path, archive: bytes) -> None:
    images = open_images(tmp_path, archive)
    assert images.total == len(FILES)
    for start in (0, 4, 6):
        rest = [(entry.name, entry.read()) for entry in images.entries(start)]
        assert rest == list(FILES.items())[start:]


def test_links_and_hidden_files_are_listed_and_hard_links_are_images(tmp_path: Path) -> None:
    files = {**FILES, "__MACOSX/a.png": b"x"}
    images = open_images(tmp_path, make_tar(files, type=tarfile.SYMTYPE, linkname="/etc/passwd"))
    assert [(file.name, file.reason.split(";")[0]) for file in images.skipped()] == [
        ("__MACOSX/a.png", "hidden or system file"),
        ("odd.png", "a link to '/etc/passwd'"),
    ]
    first = next(iter(FILES))
    hard = open_images(tmp_path, make_tar(FILES, type=tarfile.LNKTYPE, linkname=first))
    assert [entry.read() for entry in hard.entries(6)] == [FILES[first]]


def test_a_damaged_entry_is_lost_alone(tmp_path: Path) -> None:
    archive = bytearray(make_zip(FILES))
    archive[zipfile.ZipFile(io.BytesIO(archive)).infolist()[1].header_offset + 80] ^= 255
    first, damaged, *others = open_images(tmp_path, bytes(archive)).entries(0)
    with pytest.raises(DatasetError, match="damaged inside the archive"):
        damaged.read()
    assert [entry.read() for entry in (first, *others)] == [*FILES.values()][:1] + [*FILES.values()][2:]


def test_names_that_can_be_read_in_two_ways_are_asked_for(tmp_path: Path) -> None:
    archive = make_legacy_zip({"Норма/1.jpg": b"x", "Дефект/1.jpg": b"x"}, "mac_cyrillic")
    with pytest.raises(ArchiveError) as refused:
        open_images(tmp_path, archive)
    assert "`name_encoding`" in str(refused.value.hint)
    images = open_images(tmp_path, archive, name_encoding="mac_cyrillic")
    assert [entry.name for entry in images.entries(0)] == ["Норма/1.jpg", "Дефект/1.jpg"]
