"""Reads the files of a zip or a tar archive, believing nothing that it says about itself.

No ``extractall``, no devices, and no link is followed. What is unpacked is counted, so an archive that grows
out of all proportion (a bomb) is refused whatever its headers declare.
"""

from __future__ import annotations

import bz2
import gzip
import io
import mmap
import stat
import struct
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, cast

from app.datasets.name_encodings import can_read, decode_names
from app.datasets.names import show
from app.datasets.sources import DamagedEntryError, Limits, Source, SourceFile
from app.datasets.zip_names import UTF8_FLAG, read_names
from app.errors import ArchiveError, LoupeError, UnsafeArchiveError
from app.schemas.archive_kinds import READABLE_ARCHIVES

_CHUNK = 2**20
_ENCRYPTED = 0x1
_PACK_AGAIN = "Pack the folder again and upload it again."
_DAMAGED_TAR = "the tar archive is damaged or cut short"
MOST_REASON = 500
_SUPPORTED = f"Pack the folder as {READABLE_ARCHIVES}."
_OTHER_KINDS = (
    (b"7z\xbc\xaf'\x1c", "7z"),
    (b"Rar!", "RAR"),
    (b"\xfd7zXZ\0", "xz"),  # its header may ask for 4 GiB of memory, and Python's file of it knows no limit
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


@contextmanager
def _reading(what: str, kind: type[ArchiveError] = ArchiveError) -> Iterator[None]:
    """Whatever Python's modules raise on an archive is the archive's fault: they raise nearly every exception
    on headers that were made to harm, and such a job must not be tried again.
    """
    try:
        yield
    except (LoupeError, MemoryError):
        raise
    except RecursionError as error:
        raise UnsafeArchiveError(
            f"{what} is made of headers for headers without end", hint=_PACK_AGAIN
        ) from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise kind(f"{what}: {reason[:MOST_REASON]}", hint=_PACK_AGAIN) from error


def open_archive(path: Path, limits: Limits, name_encoding: str | None = None) -> Source:
    """Opens an archive, its kind told by its content. Raises ArchiveError for what is none or is damaged.

    ``name_encoding`` is for the names that declare none.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise ArchiveError("the file is empty (0 bytes)", hint=_PACK_AGAIN)
    for magic, kind in _OTHER_KINDS:
        if start.startswith(magic):
            raise ArchiveError(f"{kind} archives are not supported", hint=_SUPPORTED)
    if start.startswith((b"\x1f\x8b", b"BZh")) or start[257:262] == b"ustar":
        return TarSource(path, limits, name_encoding)
    if start.startswith(b"PK") or zipfile.is_zipfile(path):
        return ZipSource(path, limits, name_encoding)
    raise ArchiveError(f"the file is not a {READABLE_ARCHIVES} archive", hint=_SUPPORTED)


class Budget:
    """Counts unpacked bytes against the limits and the archive's own size."""

    def __init__(self, limits: Limits, packed_bytes: int) -> None:
        self._most = min(
            limits.max_total_bytes, max(limits.ratio_from_bytes, int(limits.max_ratio * packed_bytes))
        )
        self._packed = packed_bytes

    def reach(self, total: int) -> None:
        """Refuses the archive when it unpacks to more than it may."""
        if total > self._most:
            raise UnsafeArchiveError(
                f"the archive of {self._packed:,} bytes unpacks to more than {self._most:,} bytes",
                hint="This looks like a decompression bomb. If it is none, import the folder by its path.",
            )


class ZipSource(Source):
    """A zip archive, stored or deflated."""

    def __init__(self, path: Path, limits: Limits, name_encoding: str | None) -> None:
        super().__init__(limits)
        self._done, self._name_encoding = 0, name_encoding
        self._packed_bytes = path.stat().st_size
        with _reading("the zip archive is damaged or incomplete"):
            check_entry_count(path, limits.max_entries)
            self._zip = _open_zip(path)

    def files(self) -> Iterator[SourceFile]:
        infos = self._zip.infolist()
        # Safe to believe: zipfile returns no more than an entry declares, and an error where there is more.
        Budget(self.limits, self._packed_bytes).reach(sum(info.file_size for info in infos))
        _check_readable(infos)
        with _reading("the names in the zip archive are damaged"):
            read = read_names(infos, self._name_encoding)
        self.name_encoding, self.encoding_reason = read.encoding, read.reason
        for self._done, (info, text) in enumerate(zip(infos, read.names, strict=True), start=1):
            raw = text.replace("\\", "/")  # as programs on Windows write it
            name = self.check_name(raw)
            self._check_kind(info, name)
            if stat.S_ISLNK(info.external_attr >> 16):
                self.skip(name, "a link; pack the file itself")
            elif info.is_dir():
                self.note_folder(name)
            elif self.admit(name, raw) and not self.is_too_large(name, info.file_size):
                if (reason := _why_unreadable(info)) is None:
                    yield SourceFile(name, partial(self._read, info), raw)
                else:
                    self.skip(name, reason)
                    self.note_folder(name.rpartition("/")[0])  # It may be a class that is left empty.

    def progress(self) -> float:
        return self._done / max(1, len(self._zip.infolist()))

    def close(self) -> None:
        self._zip.close()

    def _check_kind(self, info: zipfile.ZipInfo, name: str) -> None:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise UnsafeArchiveError(f"entry {show(name)} is a device or a pipe", hint="Pack only files.")

    def _read(self, info: zipfile.ZipInfo) -> bytes:
        content = bytearray()
        with _reading("damaged inside the archive", kind=DamagedEntryError):
            # In chunks: in one go zipfile would unpack all that an entry holds, whatever it declares.
            try:
                with self._zip.open(info) as file:
                    while chunk := file.read(_CHUNK):
                        content += chunk
            except zipfile.BadZipFile as error:
                if "Overlapped" in str(error):
                    raise UnsafeArchiveError(
                        f"entry {show(info.filename)} overlaps another one", hint=_PACK_AGAIN
                    ) from error
                raise
        return bytes(content)


class TarSource(Source):
    """A tar archive, plain or compressed by gzip or bzip2."""

    def __init__(self, path: Path, limits: Limits, name_encoding: str | None = None) -> None:
        super().__init__(limits)
        self._path, self._name_encoding = path, name_encoding
        self._decoded: dict[str, str] | None = None
        self._packed_bytes = path.stat().st_size
        with ExitStack() as stack:
            self._file = stack.enter_context(path.open("rb"))
            self._stream = stack.enter_context(_decompress(self._file))
            self._unpacked = _CountedReader(self._stream, Budget(limits, self._packed_bytes))
            with _reading("the file is no tar archive, or damaged"):
                self._tar = tarfile.TarFile(
                    fileobj=cast("IO[bytes]", self._unpacked), encoding="utf-8", errors="surrogateescape"
                )
            self._open_files = stack.pop_all()

    def files(self) -> Iterator[SourceFile]:
        links: dict[str, list[tuple[str, str]]] = defaultdict(list)
        while (member := self._next()) is not None:
            raw = self._read_name(member)
            name = self.check_name(raw)
            if member.isdir():
                self.note_folder(name)
                continue
            if (reason := _why_left_out(member, name)) is not None:
                self.skip(name, reason)
            elif self.admit(name, raw) and not self.is_too_large(name, member.size):
                if member.islnk():
                    links[member.linkname].append((name, raw))
                else:
                    yield SourceFile(name, partial(self._read, member), raw)
        self._check_end()
        if links:
            yield from self._linked_files(links)

    def progress(self) -> float:
        return min(1.0, self._file.tell() / self._packed_bytes)

    def close(self) -> None:
        self._open_files.close()

    def _linked_files(self, links: dict[str, list[tuple[str, str]]]) -> Iterator[SourceFile]:
        """The hard links, each with the content of the file that it names: read in one more walk, since going
        back in a compressed tar for each would take too long."""
        budget, linked_bytes = Budget(self.limits, self._packed_bytes), 0
        with closing(TarSource(self._path, self.limits)) as again:
            for member in iter(again._next, None):
                if _why_left_out(member, member.name) is not None or not member.isreg():
                    continue
                files = links.pop(member.name, [])
                files = [(name, raw) for name, raw in files if not self.is_too_large(name, member.size)]
                linked_bytes += len(files) * member.size
                budget.reach(linked_bytes)
                content = again._read(member) if files else b""
                for name, raw in files:
                    yield SourceFile(name, partial(bytes, content), raw)
        for target, files in links.items():
            for name, _ in files:
                self.skip(name, f"a hard link to {show(target)}, which is no file of the archive")

    def _read_name(self, member: tarfile.TarInfo) -> str:
        if member.name.isascii():
            return member.name
        if self._decoded is None:
            self._decoded = self._decode_all()
        return self._decoded.get(member.name, member.name)

    def _decode_all(self) -> dict[str, str]:
        """The names that declare no encoding and how they read: judged together, so a tar with others than
        ASCII is walked twice."""
        with closing(TarSource(self._path, self.limits)) as again:
            members = islice(iter(again._next, None), self.limits.max_entries)
            names = [(member.name, "path" in member.pax_headers) for member in members]
        # A PAX header declares UTF-8. Some programs write whatever bytes the file system has.
        is_binary = any(is_pax and _has_odd_bytes(name) for name, is_pax in names)
        undeclared = [name for name, is_pax in names if is_binary or not is_pax]
        raw = [name.encode("utf-8", "surrogateescape") for name in undeclared]
        read = decode_names(raw, self._name_encoding, len(names))
        self.name_encoding, self.encoding_reason = read.encoding, read.reason
        return dict(zip(undeclared, read.names, strict=True))

    def _next(self) -> tarfile.TarInfo | None:
        self._tar.members = []  # type: ignore[attr-defined]  # else it keeps every header until the end
        with _reading(_DAMAGED_TAR):
            return self._tar.next()

    def _read(self, member: tarfile.TarInfo) -> bytes:
        content = bytearray()
        with _reading(f"{_DAMAGED_TAR} at {show(member.name)}"):
            file = cast("IO[bytes]", self._tar.extractfile(member))
            while chunk := file.read(_CHUNK):
                content += chunk
        return bytes(content)

    def _check_end(self) -> None:
        # tarfile takes a damaged header for the end; only a block of zeros is one.
        if self._unpacked.last_read != bytes(tarfile.BLOCKSIZE):
            raise ArchiveError(_DAMAGED_TAR, hint=_PACK_AGAIN)
        with _reading(_DAMAGED_TAR):
            while self._unpacked.read(_CHUNK):  # reading to the end checks the checksum of gzip
                pass


class _CountedReader:
    """What tarfile reads from: the unpacked stream, counted, and without huge headers read into memory."""

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self._stream, self._budget = stream, budget
        self.last_read = b""

    def read(self, size: int) -> bytes:
        if size > 4 * _CHUNK:
            raise UnsafeArchiveError(f"the tar archive has a header of {size:,} bytes", hint=_PACK_AGAIN)
        self.last_read = self._stream.read(size)
        self._budget.reach(self._stream.tell())
        return self.last_read

    def seek(self, position: int) -> int:
        self._budget.reach(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


def _decompress(file: IO[bytes]) -> IO[bytes]:
    start = file.read(3)
    file.seek(0)
    if start[:2] == b"\x1f\x8b":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    return cast("IO[bytes]", bz2.BZ2File(file)) if start == b"BZh" else file


def _why_left_out(member: tarfile.TarInfo, name: str) -> str | None:
    """Why an entry that is no folder has nothing to read; refuses devices and pipes."""
    if member.issym():
        return f"a link to {show(member.linkname)}; `tar --dereference` packs the file itself"
    if member.issparse():
        return "a sparse file; pack it without --sparse"
    if not member.isreg() and not member.islnk():
        raise UnsafeArchiveError(f"entry {show(name)} is a device or a pipe", hint="Pack only files.")
    return None


def _why_unreadable(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & _ENCRYPTED:
        return "encrypted; pack it without a password"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"compressed by method {info.compress_type}, which is not supported; pack it with deflate"
    return None


def _check_readable(infos: Sequence[zipfile.ZipInfo]) -> None:
    """Refuses a zip of which no file can be read: one sentence says more than a list of all of them."""
    files = [info for info in infos if not info.is_dir()]
    if not files or not all(map(_why_unreadable, files)):
        return
    if all(info.flag_bits & _ENCRYPTED for info in files):
        raise ArchiveError(
            f"the zip archive is encrypted: each of its files ({len(files):,}) needs a password",
            hint="Pack the folder without a password and upload it again.",
        )
    raise ArchiveError(
        f"no file of the zip archive can be read: {show(files[0].filename)} is {_why_unreadable(files[0])}",
        hint="Pack the folder as an ordinary zip (deflate) without a password, or as tar.gz.",
    )


def _has_odd_bytes(name: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in name)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except UnicodeDecodeError:
        mapped = _without_false_marks(path)
    archive = zipfile.ZipFile(cast("IO[bytes]", mapped))
    for info in archive.infolist():
        if not info.flag_bits & UTF8_FLAG and info.header_offset + 8 <= len(mapped):
            _unmark(mapped, info.header_offset + 6)
    return archive


class _Mapped(mmap.mmap):
    """A file in memory that is ours alone once it is written to."""

    def seekable(self) -> bool:
        return True


def _without_false_marks(path: Path) -> _Mapped:
    """The zip, its names marked as UTF-8 only where they are: zipfile reads no entry of another one."""
    with path.open("rb") as file:
        mapped = _Mapped(file.fileno(), 0, access=mmap.ACCESS_COPY)
        for position, header in _directory(file):
            flags, name_length = (
                struct.unpack_from("<H", header, 8)[0],
                struct.unpack_from("<H", header, 28)[0],
            )
            name = mapped[position + 46 : position + 46 + name_length]
            if flags & UTF8_FLAG and not can_read(name, "utf-8"):
                _unmark(mapped, position + 8)
    return mapped


def _unmark(mapped: mmap.mmap, position: int) -> None:
    """Clears the mark of UTF-8 in the flags that are at ``position``."""
    flags: int = struct.unpack_from("<H", mapped, position)[0]
    if flags & UTF8_FLAG:
        struct.pack_into("<H", mapped, position, flags & ~UTF8_FLAG)


def check_entry_count(path: Path, most: int) -> None:
    """Counts the entries of a zip's directory without keeping them; zipfile would hold millions in memory.

    Raises UnsafeArchiveError.
    """
    with path.open("rb") as file:
        if next(islice(_directory(file), most, None), None) is not None:
            raise UnsafeArchiveError(
                f"the archive has more than {most:,} entries",
                hint="Divide the dataset, or raise the limit in the server's settings.",
            )


def _directory(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Where each entry of a zip's directory is, and the fixed part of it."""
    end = file.seek(0, io.SEEK_END)
    tail_start = max(0, end - 65_557)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise zipfile.BadZipFile("its directory, which is at the end of the file, is missing")
    length: int = struct.unpack_from("<L", tail, at + 12)[0]
    directory_end = tail_start + at
    if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":  # zip64: a longer record before this one
        directory_end = struct.unpack_from("<Q", tail, at - 12)[0]
        file.seek(directory_end + 40)
        length = struct.unpack("<Q", file.read(8))[0]
    position = file.seek(max(0, directory_end - length))
    while True:
        header = file.read(46)
        if header[:4] != b"PK\x01\x02" or len(header) < 46:
            return
        yield position, header
        position = file.seek(position + 46 + sum(struct.unpack_from("<HHH", header, 28)))
