"""Images on this machine's disk: finding them, and a folder as a tar stream without a copy of it."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from app.cli.client import CommandError
from app.cli.console import printable
from app.datasets.layout import ClassLevel, read_layout
from app.datasets.names import Found, safe_part, settle_names
from app.errors import DatasetError, FieldError
from app.images.formats import FIRST_BYTES, READABLE, format_of_name, is_meant_as_image

CHUNK_BYTES = 2**18
# What the server takes as one file; larger ones are films or archives, and would travel for nothing.
MAX_FILE_BYTES = 128 * 2**20
_HIDDEN, _LISTED = "hidden or system file", 500
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir"})


@dataclass(frozen=True)
class PackedFile:
    """A file of the folder: where it is, its name in the archive, its size when it was found, and when it was
    changed last, in nanoseconds; 0 where nobody asks.
    """

    path: Path
    name: str
    bytes: int
    changed: int = 0


@dataclass
class FolderContents:
    """What a folder holds. ``left_out``: why → names that are not packed."""

    files: list[PackedFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, name: str) -> None:
        self.left_out.setdefault(reason, []).append(name)


@dataclass
class FoundPictures:
    """Images to ask about, each once. ``left_out``: why → files of the folders that are not asked about."""

    pictures: dict[Path, None] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, path: Path) -> None:
        self.left_out.setdefault(reason, []).append(display_name(path))


def scan_folder(folder: Path) -> FolderContents:
    """Everything in a folder but hidden and system files, and links that lead out of it.

    Files that look like no image are packed too: images hide under wrong names, and the server's report
    tells what it skipped, and which names are odd. Raises CommandError for an empty folder.
    """
    root = folder.resolve()
    contents = FolderContents()
    _scan(root, root, "", contents)
    if not contents.files:
        why = "; ".join(f"{len(names)} left out: {reason}" for reason, names in contents.left_out.items())
        raise CommandError(
            f"There is no file in {folder}{f' ({why})' if why else ''}.",
            hint="A dataset is a folder with one folder of images per class.",
        )
    return contents


def require_whole(contents: FolderContents, class_level: ClassLevel | None = None) -> None:
    """Raises CommandError that lists every file that is left out, hidden and system files aside, and every
    name that a strict import refuses, by the server's own rules."""
    problems = [
        FieldError(name, reason)
        for reason, names in contents.left_out.items()
        if reason != _HIDDEN
        for name in names
    ]
    problems += _odd_names(contents, class_level)
    if problems:
        problems.sort(key=lambda problem: problem.pointer)
        files = "file or folder" if len(problems) == 1 else "files or folders"
        raise CommandError(
            f"{len(problems):,} {files} would be left out, or have odd names.",
            hint="Mend them and import again, or leave out --strict. Damaged images are found after sending.",
            errors=tuple(problems[:_LISTED]),
        )


def packed_size(contents: FolderContents) -> int:
    """The exact length of what ``pack`` yields, in bytes."""
    headers = sum(len(_header(name, None)) for name in contents.folders)
    files = sum(len(_header(file.name, file.bytes)) + _padded(file.bytes) for file in contents.files)
    return headers + files + 2 * tarfile.BLOCKSIZE


def pack(contents: FolderContents, start: int = 0) -> Iterator[bytes]:
    """The folder as a tar archive from byte ``start`` on, read while it is sent.

    Raises CommandError if a file changes meanwhile.
    """
    at = 0
    for size, make in _parts(contents):
        # What lies before is not read.
        if at + size > start:
            yield from drop(make(), max(0, start - at))
        at += size


def drop(chunks: Iterable[bytes], skipped: int) -> Iterator[bytes]:
    """The chunks without their first ``skipped`` bytes."""
    for chunk in chunks:
        if skipped < len(chunk):
            yield chunk[skipped:] if skipped else chunk
        skipped = max(0, skipped - len(chunk))


def read_file(path: Path, start: int = 0) -> Iterator[bytes]:
    """A file from byte ``start`` on. Raises OSError."""
    with path.open("rb") as file:
        file.seek(start)
        yield from read_chunks(file)


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """An opened file in chunks."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def require_readable(path: Path) -> int:
    """The size of a file that can be sent, in bytes. A pipe is not waited for, nor a film read to be refused.

    Raises CommandError, OSError.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise CommandError("the folder cannot be read")
    if not stat.S_ISREG(status.st_mode):
        raise CommandError("not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise CommandError(
            f"{status.st_size / 2**20:,.0f} MiB, the limit for one file is {MAX_FILE_BYTES // 2**20} MiB"
        )
    with path.open("rb"):
        return status.st_size


def find_pictures(paths: Iterable[Path]) -> FoundPictures:
    """The files among ``paths``, and the images in its folders at any depth, in the order of their names.

    A file that is named is taken whatever it is; in a folder, what is an image by its name or its first
    bytes, as an import has it. Raises CommandError for a path that is not there, and for a folder without
    images.
    """
    found = FoundPictures()
    for path in paths:
        if path.is_dir():
            inside = FoundPictures()
            _find_below(path, inside)
            if not inside.pictures:
                raise CommandError(
                    f"There is no image in {printable(display_name(path))}"
                    f"{''.join(f' ({line})' for line in describe_left_out(inside.left_out))}.",
                    hint=f"Loupe reads {READABLE}.",
                )
            found.pictures.update(inside.pictures)
            for reason, names in inside.left_out.items():
                found.left_out.setdefault(reason, []).extend(names)
        elif os.path.lexists(path):
            found.pictures[path] = None
        else:
            raise CommandError(f"There is no file or folder {printable(display_name(path))}.")
    return found


def describe_left_out(left_out: Mapping[str, list[str]], at_most: int = 10) -> Iterator[str]:
    """A line for each reason, with the number of files and the first names."""
    for reason, names in left_out.items():
        listed = ", ".join(printable(name) for name in names[:at_most])
        more = f" and {len(names) - at_most:,} more" if len(names) > at_most else ""
        yield f"{len(names):,} left out, {reason}: {listed}{more}"


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to a system, not to its user."""
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def display_name(path: Path) -> str:
    """A path as text that can be sent and printed, also where its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _odd_names(contents: FolderContents, class_level: ClassLevel | None) -> list[FieldError]:
    # Only the server can judge names that are no UTF-8: in another encoding they may be sound.
    names = [file.name for file in contents.files if _is_text(file.name)]
    is_image = [format_of_name(name) is not None for name in names]
    settled = settle_names(
        [
            # Of each image its name stands for its content: no two files of a folder have one name.
            Found("/".join(map(safe_part, name.split("/"))), name, name if has_format else None)
            for name, has_format in zip(names, is_image, strict=True)
        ]
    )
    odd = [FieldError(name.original.strip("'"), name.reason) for name in settled.odd]
    images = [name for name, has_format in zip(settled.names, is_image, strict=True) if name and has_format]
    try:
        similar = read_layout(images, contents.folders, class_level).similar_classes
    except DatasetError:  # the server says what it makes of these folders, and keeps them if it asks
        similar = ()
    return odd + [FieldError(" and ".join(classes), "are alike") for classes in similar]


def _is_text(name: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in name)


def _scan(root: Path, folder: Path, prefix: str, contents: FolderContents) -> None:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = prefix + entry.name
        if is_hidden(entry.name):
            contents.leave_out(_HIDDEN, name)
        elif entry.is_dir(follow_symlinks=False):
            contents.folders.append(name)
            _scan(root, Path(entry.path), f"{name}/", contents)
        elif not entry.is_file():
            contents.leave_out("neither a file nor a folder, or a link to a folder", name)
        elif entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            contents.leave_out(
                "a link that leads out of the folder; `cp -rL` makes a copy without links", name
            )
        elif (status := entry.stat()).st_size > MAX_FILE_BYTES:
            contents.leave_out(f"larger than {MAX_FILE_BYTES // 2**20} MiB", name)
        else:
            contents.files.append(PackedFile(Path(entry.path), name, status.st_size, status.st_mtime_ns))


def _header(name: str, size: int | None) -> bytes:
    """A tar entry's header; ``size`` None makes it a folder."""
    info = tarfile.TarInfo(name)
    if size is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    else:
        info.size = size
    # A name that is no UTF-8 keeps its bytes: the server says what it makes of it.
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _parts(contents: FolderContents) -> Iterator[tuple[int, Callable[[], Iterable[bytes]]]]:
    """The archive's parts, each with its length in bytes."""
    for name in contents.folders:
        header = _header(name, None)
        yield len(header), partial(_alone, header)
    for file in contents.files:
        header = _header(file.name, file.bytes)
        yield len(header), partial(_alone, header)
        yield _padded(file.bytes), partial(_content, file)
    end = bytes(2 * tarfile.BLOCKSIZE)
    yield len(end), partial(_alone, end)


def _alone(block: bytes) -> tuple[bytes]:
    return (block,)


def _content(file: PackedFile) -> Iterator[bytes]:
    seen = 0
    with file.path.open("rb") as source:
        for chunk in read_chunks(source):
            seen += len(chunk)
            if seen > file.bytes:
                break
            yield chunk
    if seen != file.bytes:
        raise CommandError(f"{file.path} changed while it was being sent.", hint="Start the command again.")
    yield bytes(_padded(seen) - seen)


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _find_below(folder: Path, found: FoundPictures) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        # Reading it as an image fails too: its error becomes a row.
        found.pictures[folder] = None
        return
    for entry in entries:
        path = folder / entry.name
        if is_hidden(entry.name):
            found.leave_out("hidden or system file", path)
        elif entry.is_dir(follow_symlinks=False):
            _find_below(path, found)
        elif path.is_dir():
            found.leave_out("a link to a folder", path)
        elif path.exists() and not path.is_file():
            found.leave_out("not a regular file", path)
        elif _is_picture(path):
            found.pictures[path] = None
        else:
            found.leave_out("no image", path)


def _is_picture(path: Path) -> bool:
    if format_of_name(path.name) is not None:
        return True
    try:
        with path.open("rb") as file:
            return is_meant_as_image(path.name, file.read(FIRST_BYTES))
    except OSError:
        return True  # what it is cannot be known: its error becomes a row
