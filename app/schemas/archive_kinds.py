"""The archives that an import reads: the one list of their names, file extensions and media types."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArchiveKind:
    """The first of the ``media_types`` is the one that Loupe itself sends."""

    name: str
    extensions: tuple[str, ...]
    media_types: tuple[str, ...]


ARCHIVE_KINDS = (
    ArchiveKind("zip", (".zip",), ("application/zip", "application/x-zip-compressed")),
    ArchiveKind("tar", (".tar",), ("application/x-tar",)),
    ArchiveKind("tar.gz", (".gz", ".tgz"), ("application/gzip", "application/x-gzip")),
    ArchiveKind("tar.bz2", (".bz2", ".tbz2", ".tbz"), ("application/x-bzip2", "application/x-bzip")),
)
ANY_FILE = "application/octet-stream"
MEDIA_TYPES = (*(one for kind in ARCHIVE_KINDS for one in kind.media_types), ANY_FILE)
READABLE_ARCHIVES = ", ".join(kind.name for kind in ARCHIVE_KINDS[:-1]) + f" or {ARCHIVE_KINDS[-1].name}"
_BY_EXTENSION = {one: kind.media_types[0] for kind in ARCHIVE_KINDS for one in kind.extensions}


def media_type_of_name(extension: str) -> str:
    """The media type that a file's extension stands for."""
    return _BY_EXTENSION.get(extension.lower(), ANY_FILE)
