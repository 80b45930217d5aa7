"""Images of a program on their way to the server: files, bytes, Pillow images, arrays; alone or as a
dataset."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from loupe.errors import LoupeError

if TYPE_CHECKING:
    import numpy
    from PIL import Image

    Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | numpy.ndarray[Any, Any]
else:
    Picture = Any
"""A path, the bytes of an image file, a Pillow image, or an array of height × width (× 1, 3 or 4) of
uint8."""

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2")
_CHUNK = 2**18


def read_picture(picture: Picture) -> tuple[str, bytes]:
    """The name and the bytes of an image file. What has no file is sent as PNG, which loses nothing.

    Raises LoupeError for what is no image, OSError for a file that cannot be read.
    """
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        return path.name, path.read_bytes()
    if isinstance(picture, bytes | bytearray | memoryview):
        return "image", bytes(picture)
    if hasattr(picture, "save"):
        return "image.png", _to_png(picture)
    if hasattr(picture, "__array_interface__"):
        return "image.png", _to_png(_from_array(picture))
    raise LoupeError(
        f"A {type(picture).__name__} is no image.", "Give a path, bytes, a Pillow image or a NumPy array."
    )


def _to_png(image: Any) -> bytes:
    output = io.BytesIO()
    image.save(output, "PNG")
    return output.getvalue()


def _from_array(array: Any) -> Any:
    from PIL import Image

    shape = tuple(array.shape)
    if str(array.dtype) != "uint8" or len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,), (4,)):
        raise LoupeError(
            f"An array of {array.dtype} with the shape {shape} is no image.",
            "It takes height × width, or that × 1, 3 or 4 channels, of uint8 from 0 to 255.",
        )
    return Image.fromarray(array[:, :, 0] if shape[2:] == (1,) else array)


def open_images(images: Any) -> tuple[str, str, int | None, Callable[[], Iterator[bytes]]]:
    """Name, media type and size of an upload, and what makes its bytes: of an archive, a folder of class
    folders, or pairs of (image, label).

    A folder and pairs go as a tar that is made while it is sent. Pairs of an iterator can be sent only once;
    a list can be sent again after a lost connection. Raises LoupeError.
    """
    if isinstance(images, str | os.PathLike):
        path = Path(images)
        if path.is_dir():
            files = _files_of(path)
            return f"{path.resolve().name}.tar", "application/x-tar", None, lambda: _pack_files(files)
        if not path.is_file():
            raise LoupeError(f"There is no file or folder {path}.")
        if not path.name.lower().endswith(ARCHIVES):
            raise LoupeError(
                f"{path} is neither a folder nor an archive.",
                "A dataset is a folder with one folder of images a class, or a zip or tar of it.",
            )
        return path.name, "application/octet-stream", path.stat().st_size, lambda: _read_file(path)
    return "images.tar", "application/x-tar", None, lambda: _pack_pairs(images)


def _files_of(folder: Path) -> list[tuple[str, Path]]:
    """By the name in the archive; what is hidden stays here."""
    found = [
        (path.relative_to(folder).as_posix(), path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise LoupeError(f"There is no file in {folder}.", "A dataset is a folder with one folder a class.")
    return found


def _read_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _pack_files(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    for name, path in files:
        yield from _entry(name, path.read_bytes())
    yield bytes(2 * tarfile.BLOCKSIZE)


def _pack_pairs(pairs: Iterable[tuple[Picture, str]]) -> Iterator[bytes]:
    for number, (picture, label) in enumerate(pairs):
        folder = str(label)
        if folder != PurePosixPath(folder).name or folder in ("", ".", ".."):
            raise LoupeError(f"{folder!r} cannot be a label.", "A label is a folder's name: no slash in it.")
        name, content = read_picture(picture)
        yield from _entry(f"{folder}/{number:06d}-{name}", content)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _entry(name: str, content: bytes) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    yield header.tobuf(tarfile.PAX_FORMAT)
    yield content
    yield bytes(-len(content) % tarfile.BLOCKSIZE)
