from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.cli import label_folders
from app.cli.label_folders import LabelFolders, folder_name, numbered
from app.cli.watched_folder import ChangedError, Version
from app.host import renames
from tests.cli.watching import files_below


def _version(path: Path, content: bytes = b"image") -> Version:
    path.write_bytes(content)
    status = path.stat()
    return Version(path, path.name, status.st_size, status.st_mtime_ns)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("cat", "cat"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("/etc/x", "%2Fetc%2Fx"),
        ("../../x", "%2E.%2F..%2Fx"),
        ("a\\b\0\n", "a%5Cb%00%0A"),
        ("", "%"),
        ("日本 ok", "日本 ok"),
    ],
)
def test_a_label_is_one_part_of_a_path_and_leads_nowhere_else(tmp_path: Path, label: str, name: str) -> None:
    version = _version(tmp_path / "a.png")

    moved = LabelFolders(tmp_path / "sorted").move(version, label, is_resumed=False)

    assert folder_name(label) == name
    assert moved == tmp_path / "sorted" / name / "a.png"
    assert moved.read_bytes() == b"image"


def test_numbers_are_counted_and_long_names_are_cut(tmp_path: Path) -> None:
    folders = LabelFolders(tmp_path / "sorted")
    long = "ä" * 125 + ".png"

    names = [
        folders.move(_version(tmp_path / name, str(n).encode()), "cat", is_resumed=False).name
        for name in ("a.png", long)
        for n in range(3)
    ]

    assert names[:3] == ["a.png", "a-2.png", "a-3.png"]
    assert all(len(os.fsencode(name)) <= 255 for name in names)
    assert numbered("a.tar.gz", 2) == "a.tar-2.gz"
    assert sorted(files_below(tmp_path).values()) == [b"0", b"0", b"1", b"1", b"2", b"2"]


def test_a_file_that_changed_is_not_moved(tmp_path: Path) -> None:
    version = _version(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"another image")

    with pytest.raises(ChangedError):
        LabelFolders(tmp_path / "sorted").move(version, "cat", is_resumed=False)
    assert files_below(tmp_path) == {"a.png": b"another image"}


def test_an_image_that_takes_the_place_at_the_last_moment_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = _version(tmp_path / "a.png")

    def replace_and_name(label: str) -> str:
        (tmp_path / "new").write_bytes(b"another image")
        (tmp_path / "new").rename(tmp_path / "a.png")
        return label

    monkeypatch.setattr(label_folders, "folder_name", replace_and_name)
    with pytest.raises(ChangedError):
        LabelFolders(tmp_path / "sorted").move(version, "cat", is_resumed=False)
    assert files_below(tmp_path) == {"a.png": b"another image"}


def test_a_link_in_place_of_a_labels_folder_is_not_followed(tmp_path: Path) -> None:
    version = _version(tmp_path / "a.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sorted").mkdir()
    (tmp_path / "sorted/cat").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="not followed"):
        LabelFolders(tmp_path / "sorted").move(version, "cat", is_resumed=False)
    assert files_below(tmp_path) == {"a.png": b"image"}


def test_where_the_system_has_no_such_rename_nothing_is_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renames, "_rename_exclusively", lambda *_: 22)
    folders = LabelFolders(tmp_path / "sorted")
    for content in (b"1", b"2"):
        folders.move(_version(tmp_path / "a.png", content), "cat", is_resumed=False)

    assert files_below(tmp_path) == {"sorted/cat/a.png": b"1", "sorted/cat/a-2.png": b"2"}
