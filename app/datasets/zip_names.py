"""Reads the names in a zip: as an entry declares its own, else in the encoding that all others are in."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence

from app.datasets.name_encodings import ReadNames, decode_names

UTF8_FLAG, _UNICODE_PATH = 0x800, 0x7075


def read_names(infos: Sequence[zipfile.ZipInfo], encoding: str | None) -> ReadNames:
    """Reads all names; ``encoding`` is for those that declare none. Raises ChoiceNeededError."""
    declared = [_declared_name(info) for info in infos]
    raw = [_raw_name(info) for info, name in zip(infos, declared, strict=True) if name is None]
    read = decode_names(raw, encoding, len(infos))
    others = iter(read.names)
    names = tuple(next(others) if name is None else name for name in declared)
    return ReadNames(names, read.encoding, read.reason)


def _declared_name(info: zipfile.ZipInfo) -> str | None:
    # orig_filename, since zipfile cuts ``filename`` at a NUL.
    return info.orig_filename if info.flag_bits & UTF8_FLAG else _unicode_path(info)


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    """The bytes in the archive: zipfile reads them as cp437, which loses none."""
    return info.orig_filename.encode("cp437")


def _unicode_path(info: zipfile.ZipInfo) -> str | None:
    """The name in the extra field for it, if that was made for the name that the entry has now."""
    extra = info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(field) == length > 5 and field[0] == 1:
            if struct.unpack_from("<L", field, 1)[0] != zlib.crc32(_raw_name(info)):
                return None
            try:
                return field[5:].decode("utf-8")
            except UnicodeDecodeError:
                return None
    return None
