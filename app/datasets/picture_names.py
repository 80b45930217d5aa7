"""Which names promise a picture, by their extension. Imports nothing: the command line waits for it."""

from __future__ import annotations

from pathlib import PurePosixPath

_FORMATS = {
    "jpg": "jpeg", "jpeg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "mpo": "jpeg", "png": "png", "webp": "webp",
    "bmp": "bmp", "dib": "bmp", "tif": "tiff", "tiff": "tiff", "gif": "gif",
}  # fmt: skip


def promised_format(name: str) -> str | None:
    """The format that the file's extension stands for; None where it is no picture's that Loupe reads."""
    return _FORMATS.get(PurePosixPath(name).suffix[1:].lower())


def is_picture_name(name: str) -> bool:
    """Whether the file's extension is one of a picture format that Loupe reads."""
    return promised_format(name) is not None
