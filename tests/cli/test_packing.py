from __future__ import annotations

import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from app.cli.client import CommandError
from app.cli.packing import describe_left_out, display_name, find_pictures, pack, packed_size, scan_folder
from app.images.formats import FORMATS, READABLE


def _write(path: Path, content: bytes = b"picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _packed(folder: Path) -> dict[str, bytes | None]:
    """Names in the archive with their content; None for a folder."""
    contents = scan_folder(folder)
    archive = b"".join(pack(contents))
    assert len(archive) == packed_size(contents)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            entry.name: None if (file := tar.extractfile(entry)) is None else file.read()
            for entry in tar.getmembers()
        }


def test_a_folder_arrives_whole_whatever_its_files_are_called(tmp_path: Path) -> None:
    long_name = "x" * 180 + ".jpg"
    for name, content in {
        "cat/é ü.png": b"1" * 511,
        "dog/b": b"",
        f"dog/{'d' * 90}/{long_name}": b"2" * 1025,
    }.items():
        _write(tmp_path / name, content)

    packed = _packed(tmp_path)

    assert packed["cat/é ü.png"] == b"1" * 511
    assert packed["dog/b"] == b""
    assert packed[f"dog/{'d' * 90}/{long_name}"] == b"2" * 1025


def test_an_empty_class_is_packed_so_that_the_report_can_name_it(tmp_path: Path) -> None:
    _write(tmp_path / "cat/a.png")
    (tmp_path / "dog").mkdir()

    assert _packed(tmp_path)["dog"] is None


def test_hidden_and_system_files_stay_here(tmp_path: Path) -> None:
    for name in ("cat/a.png", ".git/config", "cat/.DS_Store", "__MACOSX/cat/a.png", "cat/Thumbs.db"):
        _write(tmp_path / name)

    assert set(_packed(tmp_path)) == {"cat", "cat/a.png"}


def test_a_link_is_followed_inside_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    secret = _write(tmp_path / "secret")
    folder = tmp_path / "pictures"
    _write(folder / "cat/a.png", b"inside")
    (folder / "cat/b.png").symlink_to(folder / "cat/a.png")
    (folder / "cat/c.png").symlink_to(secret)
    (folder / "cat/d.png").symlink_to(folder / "nowhere")
    (folder / "dog").symlink_to(folder / "cat")

    packed = _packed(folder)

    assert packed == {"cat": None, "cat/a.png": b"inside", "cat/b.png": b"inside"}
    assert sum(map(len, scan_folder(folder).left_out.values())) == 3


def test_a_file_that_changes_while_it_is_sent_ends_the_import(tmp_path: Path) -> None:
    picture = _write(tmp_path / "cat/a.png", b"1" * 1000)
    contents = scan_folder(tmp_path)

    for content in (b"1" * 999, b"1" * 1001):
        picture.write_bytes(content)
        with pytest.raises(CommandError, match=r"a\.png changed"):
            b"".join(pack(contents))


def test_a_folder_without_files_is_refused_with_the_expected_shape(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()

    with pytest.raises(CommandError, match="no file") as error:
        scan_folder(tmp_path)

    assert "one folder of images per class" in str(error.value.hint)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are no text")
def test_a_name_that_is_no_text_is_sent_as_it_is(tmp_path: Path) -> None:
    _write(tmp_path / "cat/a.png")
    bad = os.fsencode(tmp_path) + b"/cat/\xff.png"
    Path(os.fsdecode(bad)).write_bytes(b"x")

    contents = scan_folder(tmp_path)

    sent = b"".join(pack(contents))
    assert len(sent) == packed_size(contents)
    with tarfile.open(fileobj=io.BytesIO(sent), encoding="utf-8", errors="surrogateescape") as archive:
        assert archive.getnames() == ["cat", "cat/a.png", "cat/\udcff.png"]
    assert display_name(Path(os.fsdecode(bad))).endswith("/cat/\ufffd.png")


def test_pictures_are_found_at_any_depth_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/10.webp", "a/deep/down/1.tif", "notes.txt", ".cache/3.png", "a/.4.png"):
        _write(tmp_path / name)

    found = find_pictures([tmp_path])

    assert [str(path.relative_to(tmp_path)) for path in found.pictures] == [
        "a/deep/down/1.tif",
        "b/10.webp",
        "b/2.JPG",
    ]
    assert found.left_out == {
        "hidden or system file": [str(tmp_path / ".cache"), str(tmp_path / "a/.4.png")],
        "no image": [str(tmp_path / "notes.txt")],
    }


def test_every_extension_of_every_format_is_a_picture_and_so_is_its_content_under_any_name(
    tmp_path: Path,
) -> None:
    for entry in FORMATS:
        for extension in entry.extensions:
            _write(tmp_path / f"name.{extension.upper()}")
        for number, start in enumerate(entry.starts):
            (tmp_path / f"start-{entry.name}-{number}").write_bytes(start + bytes(8))
        for brand in entry.brands:
            (tmp_path / f"brand-{brand.decode()}.dat").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(8))
    (tmp_path / "webp").write_bytes(b"RIFF\0\0\0\0WEBP")
    everything = set(tmp_path.iterdir())
    for name in ("film.mp4", "none"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypisom" + bytes(8))

    found = find_pictures([tmp_path])

    assert set(found.pictures) == everything
    assert found.left_out == {"no image": [str(tmp_path / "film.mp4"), str(tmp_path / "none")]}


def test_what_is_no_file_is_left_out_and_what_cannot_be_read_is_kept_for_its_error(tmp_path: Path) -> None:
    _write(tmp_path / "1.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")

    found = find_pictures([tmp_path])

    assert list(found.pictures) == [tmp_path / "1.png", tmp_path / "gone"]
    assert found.left_out == {
        "a link to a folder": [str(tmp_path / "link")],
        "not a regular file": [str(tmp_path / "pipe.png")],
    }


def test_a_file_that_is_named_is_taken_once_whatever_it_is_called(tmp_path: Path) -> None:
    odd = _write(tmp_path / "picture.dat")

    assert list(find_pictures([odd, odd]).pictures) == [odd]


@pytest.mark.parametrize(("name", "message"), [("nowhere", "no file or folder"), ("empty", "no image in")])
def test_paths_without_pictures_are_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(CommandError, match=message):
        find_pictures([tmp_path / name])


def test_the_error_for_a_folder_without_pictures_names_its_files_and_the_formats(tmp_path: Path) -> None:
    _write(tmp_path / "notes.txt")

    with pytest.raises(CommandError, match=r"1 left out, no image: .*notes\.txt") as caught:
        find_pictures([tmp_path])
    assert caught.value.hint == f"Loupe reads {READABLE}."


def test_what_was_left_out_is_one_line_for_each_reason() -> None:
    names = [f"{number}.txt" for number in range(1200)]

    (line,) = describe_left_out({"no image": names})

    assert line.startswith("1,200 left out, no image: 0.txt, 1.txt")
    assert line.endswith("9.txt and 1,190 more")
