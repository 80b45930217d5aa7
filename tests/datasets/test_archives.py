from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.datasets.archives import open_archive
from app.datasets.sources import DamagedEntryError, Limits
from app.errors import ArchiveError, ChoiceNeededError, UnsafeArchiveError
from app.schemas.archive_kinds import ARCHIVE_KINDS, READABLE_ARCHIVES


def walk(path: Path, **limits: Any) -> dict[str, bytes]:
    with open_archive(path, Limits(**limits)) as source:
        return {file.name: file.read() for file in source.files()}


def add_member(path: Path, member: tarfile.TarInfo, content: bytes = b"", **options: Any) -> Path:
    with tarfile.open(path, "w", **options) as archive:
        archive.addfile(member, io.BytesIO(content))
    return path


def refused(path: Path, match: str, kind: type[ArchiveError] = UnsafeArchiveError, **limits: Any) -> None:
    with pytest.raises(kind, match=match) as caught:
        walk(path, **limits)
    assert type(caught.value) is kind
    assert caught.value.hint


@pytest.mark.parametrize("kind", [kind.name for kind in ARCHIVE_KINDS])
def test_each_kind_is_read_whatever_the_file_is_called(
    kind: str, write_zip: Any, write_tar: Any, two_classes: dict[str, bytes]
) -> None:
    if kind == "zip":
        path = write_zip(two_classes, "archive.dat")
    else:
        path = write_tar(two_classes, "archive.dat", "w:" + kind.partition(".")[2])
    assert walk(path) == two_classes


def test_the_document_names_every_kind() -> None:
    document = Path(__file__).parents[2] / "docs/datasets.md"
    assert f": {READABLE_ARCHIVES}." in document.read_text(encoding="utf-8")


@pytest.mark.parametrize("write", ["write_zip", "write_tar"])
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("../escape.png", r"'\.\./escape\.png' points outside"),
        ("cat/../../escape.png", "points outside"),
        ("cat\\..\\..\\escape.png", "points outside"),
        ("/etc/cron.d/escape.png", "absolute"),
        ("C:\\Windows\\escape.png", "absolute"),
        ("\\\\server\\share\\escape.png", "absolute"),
    ],
)
def test_a_name_that_could_do_harm_is_refused(
    request: pytest.FixtureRequest, write: str, name: str, match: str, tmp_path: Path
) -> None:
    path = request.getfixturevalue(write)({"cat/1.png": b"1", name: b"2"})
    before = set(tmp_path.rglob("*"))
    refused(path, match)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.BLKTYPE, "is a device"),
        (tarfile.FIFOTYPE, "is a device or a pipe"),
    ],
)
def test_a_tar_with_a_device_or_a_pipe_is_refused(tmp_path: Path, kind: bytes, match: str) -> None:
    member = tarfile.TarInfo("cat/1.png")
    member.type, member.linkname = kind, "/etc/passwd"
    refused(add_member(tmp_path / "a.tar", member), match)


@pytest.mark.parametrize("mode", [0o020666, 0o060666, 0o010666, 0o140777])
def test_a_zip_with_a_device_or_a_pipe_is_refused(tmp_path: Path, mode: int) -> None:
    info = zipfile.ZipInfo("cat/1.png")
    info.create_system, info.external_attr = 3, mode << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "a.zip", "is a device")


def encrypt(path: Path, *names: str) -> Path:
    """Marks entries of a zip as encrypted, in their own header and in the directory."""
    data = bytearray(path.read_bytes())
    for name in names:
        directory = data.index(b"PK\x01\x02")
        own, listed = data.index(name.encode()), data.index(name.encode(), directory)
        data[own - 30 + 6] |= 1
        data[listed - 46 + 8] |= 1
    path.write_bytes(bytes(data))
    return path


def test_a_zip_of_which_every_file_is_encrypted_is_refused_with_one_sentence(write_zip: Any) -> None:
    path = encrypt(write_zip({"cat/": b"", "cat/1.png": b"1", "cat/2.png": b"2"}), "cat/1.png", "cat/2.png")
    refused(path, r"the zip archive is encrypted: each of its files \(2\) needs a password", ArchiveError)


def test_a_zip_of_which_no_file_can_be_read_says_why(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("cat/1.png", b"1" * 100)
        archive.writestr("cat/2.png", b"1" * 100)
    encrypt(tmp_path / "a.zip", "cat/2.png")
    refused(tmp_path / "a.zip", "'cat/1.png' is compressed by method 14", ArchiveError)


def test_entries_of_a_zip_that_cannot_be_read_are_left_out_and_the_others_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.png", b"1")
        archive.writestr("cat/2.png", b"2")
        archive.writestr("dog/3.png", b"3" * 100, zipfile.ZIP_LZMA)
        archive.writestr("dog/4.png", b"4" * 100, zipfile.ZIP_BZIP2)
    with open_archive(encrypt(tmp_path / "a.zip", "cat/2.png"), Limits()) as source:
        assert {file.name: file.read() for file in source.files()} == {"cat/1.png": b"1"}
    assert source.skipped == [
        ("cat/2.png", "encrypted; pack it without a password"),
        ("dog/3.png", "compressed by method 14, which is not supported; pack it with deflate"),
        ("dog/4.png", "compressed by method 12, which is not supported; pack it with deflate"),
    ]
    assert source.folders == {"cat", "dog"}, "a class that is left empty can be reported"


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2"])
def test_a_bomb_is_refused_before_it_is_unpacked(kind: str, write_zip: Any, write_tar: Any) -> None:
    bomb = {f"cat/{number}.bmp": bytes(1_000_000) for number in range(8)}
    path = write_zip(bomb) if kind == "zip" else write_tar(bomb, "bomb", f"w:{kind}")
    assert path.stat().st_size < 60_000
    refused(path, "unpacks to more than", ratio_from_bytes=100_000)


def test_a_zip_bomb_is_refused_before_its_first_file(write_zip: Any) -> None:
    path = write_zip({"cat/1.png": b"1", "cat/2.bmp": bytes(1_000_000)})
    with open_archive(path, Limits(ratio_from_bytes=100_000)) as source, pytest.raises(UnsafeArchiveError):
        next(iter(source.files()))


def test_a_tar_bomb_of_a_single_file_is_refused(write_tar: Any) -> None:
    path = write_tar({"cat/1.bmp": bytes(512 * 2000)}, "bomb", "w:gz")
    refused(path, "unpacks to more than", ratio_from_bytes=100_000)


def test_a_skipped_file_over_the_limits_is_not_unpacked_to_get_past_it(write_tar: Any) -> None:
    path = write_tar({"cat/.hidden": os.urandom(5_000_000), "cat/1.png": b"1"}, "a", "w:gz")
    with open_archive(path, Limits(max_total_bytes=1_000_000)) as source:
        with pytest.raises(UnsafeArchiveError, match="more than 1,000,000 bytes"):
            list(source.files())
        assert source.progress() < 0.5


def test_a_zip_bomb_that_lies_about_its_size_is_not_unpacked(write_zip: Any) -> None:
    path = write_zip({"cat/1.bmp": bytes(100_000_000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 100_000_000), struct.pack("<L", 10)))
    tracemalloc.start()
    with open_archive(path, Limits()) as source:
        (file,) = source.files()
        with pytest.raises(DamagedEntryError):
            file.read()
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_tar_header_of_a_gigabyte_is_not_read_into_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**30
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(2**20)))
    refused(path, "header of 1,073,741,824 bytes")


def test_a_sparse_tar_entry_is_left_out(tmp_path: Path) -> None:
    member = tarfile.TarInfo("cat/1.png")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(10240))
    with open_archive(tmp_path / "a.tar", Limits()) as source:
        assert list(source.files()) == []
        assert source.skipped == [("cat/1.png", "a sparse file; pack it without --sparse")]


@pytest.mark.parametrize("write", ["write_zip", "write_tar"])
def test_too_many_entries_are_refused(request: pytest.FixtureRequest, write: str) -> None:
    path = request.getfixturevalue(write)({f"cat/{number}.png": b"" for number in range(11)})
    refused(path, "more than 10 entries", max_entries=10)
    if write == "write_zip":
        with pytest.raises(UnsafeArchiveError):
            open_archive(path, Limits(max_entries=10))
    assert len(walk(path, max_entries=11)) == 11


def test_a_zip64_archive_is_counted_and_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(70_000):
            archive.writestr(f"{number}/", b"")
    refused(tmp_path / "a.zip", "more than 69,999 entries", max_entries=69_999)
    assert walk(tmp_path / "a.zip", max_entries=70_000) == {}


@pytest.mark.parametrize("write", ["write_zip", "write_tar"])
def test_a_file_over_the_limit_for_one_file_is_skipped_with_its_reason(
    request: pytest.FixtureRequest, write: str
) -> None:
    path = request.getfixturevalue(write)({"cat/film.mp4": os.urandom(5000), "cat/1.png": b"1"})
    with open_archive(path, Limits(max_file_bytes=4000)) as source:
        assert [file.name for file in source.files()] == ["cat/1.png"]
        assert "5,000 bytes" in dict(source.skipped)["cat/film.mp4"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b"just some text\n" * 100, "not a zip, tar, tar.gz or tar.bz2"),
        (b"\xff\xd8\xff\xe0" + bytes(600), "not a zip, tar, tar.gz or tar.bz2"),
        (b"7z\xbc\xaf'\x1c" + bytes(600), "7z archives are not supported"),
        (b"\xfd7zXZ\0" + bytes(600), "xz archives are not supported"),
        (b"Rar!\x1a\x07" + bytes(600), "RAR archives are not supported"),
        (b"PK\x03\x04" + bytes(600), "damaged or incomplete"),
        (b"\x1f\x8b\x08" + bytes(600), "no tar archive, or damaged"),
        (gzip.compress(b"no tar inside" * 100, mtime=0), "no tar archive, or damaged"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "upload.zip").write_bytes(content)
    refused(tmp_path / "upload.zip", match, ArchiveError)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_cut_short_anywhere_is_an_error_and_never_fewer_pictures(
    kind: str, write_zip: Any, write_tar: Any
) -> None:
    files = {f"cat/{number}.png": os.urandom(700) for number in range(6)}
    path = write_zip(files) if kind == "zip" else write_tar(files, "a", "w:gz" if "gz" in kind else "w")
    data = path.read_bytes()
    lengths = range(0, len(data) - 1, 97) if kind != "tar" else range(0, 6 * 1536, 256)
    for length in lengths:
        path.write_bytes(data[:length])
        with pytest.raises(ArchiveError):
            walk(path)


def test_a_damaged_tar_header_is_an_error_and_not_the_end(write_tar: Any) -> None:
    path = write_tar({f"cat/{number}.png": b"1" * 100 for number in range(4)})
    data = bytearray(path.read_bytes())
    data[2 * 1024 + 10] ^= 0xFF
    path.write_bytes(bytes(data))
    refused(path, "damaged or cut short", ArchiveError)


def test_one_damaged_entry_of_a_zip_does_not_cost_the_others(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("cat/1.png", b"first")
        archive.writestr("cat/2.png", b"second")
    path = tmp_path / "a.zip"
    path.write_bytes(path.read_bytes().replace(b"first", b"fIrst"))
    with open_archive(path, Limits()) as source:
        files = iter(source.files())
        with pytest.raises(DamagedEntryError, match="CRC"):
            next(files).read()
        assert next(files).read() == b"second"


def test_utf8_names_are_read_from_a_zip_that_does_not_declare_them(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("cat/sch??n.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, b"1")
    path = tmp_path / "a.zip"
    path.write_bytes(path.read_bytes().replace(b"sch??n", "schön".encode()))
    assert list(walk(path)) == ["cat/schön.png"]
    path.write_bytes(path.read_bytes().replace("schön".encode(), b"sch\x94\x94n"))
    assert list(walk(path)) == ["cat/schöön.png"]


def test_a_zip_whose_declared_utf8_name_is_none_is_read_all_the_same(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for word in ("schön", "über", "Grün", "Öl"):
            for number in range(4):
                archive.writestr(f"cat/{word}{number}.png", word)
    path = tmp_path / "a.zip"
    path.write_bytes(path.read_bytes().replace("Öl3".encode(), b"\xd6_l3"))
    found = walk(path)
    assert len(found) == 16
    assert list(found.values()).count("Öl".encode()) == 4
    assert "cat/schön3.png" in found


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_bytes_of_a_tar_name_that_are_not_utf8_are_judged_as_those_of_a_zip(
    tmp_path: Path, tar_format: int
) -> None:
    member = tarfile.TarInfo("cat/sch\udcf6n.png")
    path = add_member(
        tmp_path / "a.tar", member, format=tar_format, encoding="utf-8", errors="surrogateescape"
    )
    assert list(walk(path)) == ["cat/schön.png"]


def test_composed_and_decomposed_names_are_one_name(write_zip: Any) -> None:
    assert list(walk(write_zip({"cafe\u0301/1.png": b"1"}))) == ["caf\u00e9/1.png"]


def test_system_files_are_skipped_with_a_reason_and_folders_remembered(write_zip: Any) -> None:
    hidden = ["__MACOSX/cat/._1.png", "cat/.DS_Store", "cat/Thumbs.db", ".git/config"]
    path = write_zip({"cat/1.png": b"1", "dog/": b"", **dict.fromkeys(hidden, b"x")})
    with open_archive(path, Limits()) as source:
        assert [file.name for file in source.files()] == ["cat/1.png"]
        assert source.skipped == [(name, "hidden or system file") for name in hidden]
        assert source.folders == {"dog"}
        assert source.progress() == 1


def test_reading_a_plain_tar_does_not_go_back(write_tar: Callable[..., Path]) -> None:
    path = write_tar({f"cat/{number}.png": os.urandom(3000) for number in range(50)}, "a", "w:gz")
    with open_archive(path, Limits()) as source:
        progress = []
        for file in source.files():
            file.read()
            progress.append(source.progress())
    assert progress == sorted(progress)


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_headers_for_headers_without_end_are_unsafe_and_not_tried_again(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("a")
    header.type, header.size = kind, 16
    content = b"7 a=bcd\n7 a=bcd\n".ljust(tarfile.BLOCKSIZE, b"\0")
    path = tmp_path / "chained.tar"
    path.write_bytes((header.tobuf(tarfile.GNU_FORMAT) + content) * 20_000 + bytes(2 * tarfile.BLOCKSIZE))
    with pytest.raises(ArchiveError) as raised, open_archive(path, Limits()) as source:
        list(source.files())
    assert isinstance(raised.value, UnsafeArchiveError) or kind == b"g"
    assert (raised.value.status, raised.value.retryable) == (422, False)


@pytest.mark.parametrize("write", ["write_zip", "write_tar", "write_pax"])
def test_whatever_is_done_to_an_archive_it_is_read_or_refused(
    request: pytest.FixtureRequest, tmp_path: Path, write: str
) -> None:
    files = {f"cat/{'ü' * 40}{number}.png": bytes([number]) * 700 for number in range(4)}
    if write == "write_pax":
        whole = tmp_path / "pax.tar"
        with tarfile.open(whole, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name * 3)
                member.size, member.mtime = len(content), 0.5
                archive.addfile(member, io.BytesIO(content))
    else:
        whole = request.getfixturevalue(write)(files)
    sound = whole.read_bytes()
    chance = random.Random(0)
    for _ in range(1500):
        data = bytearray(sound)
        for _ in range(chance.choice((1, 1, 2, 8, 40))):
            at = chance.randrange(len(data))
            data[at : at + chance.choice((1, 1, 4))] = chance.choice(
                (chance.randbytes(1), b"\xff\xff\xff\xff", b"\0\0\0\0", b"-1", b"9" * 4, bytes(data[:4]))
            )
        path = tmp_path / "changed"
        path.write_bytes(data)
        with (
            contextlib.suppress(ArchiveError, ChoiceNeededError),
            open_archive(path, Limits(max_total_bytes=2**24)) as source,
        ):
            for file in source.files():
                with contextlib.suppress(DamagedEntryError):
                    file.read()
