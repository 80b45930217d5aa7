"""Where the images come from: a dataset, or an archive that is read with the defences of an import.

Both are walked in an order that never changes, so that a position in it is enough to go on from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from app.batches.spec import ArchiveInput, DatasetInput, SkippedFile
from app.datasets.archives import open_archive
from app.datasets.manifest import load_manifest, read_image
from app.datasets.sources import DamagedEntryError
from app.errors import ArchiveError, ChoiceNeededError

_NO_IMAGE = "Pack images, in folders or without."


@dataclass(frozen=True)
class Entry:
    """A file that may be an image. ``read`` raises DatasetError where only this file is lost."""

    name: str
    read: Callable[[], bytes]


class ImageSource(ABC):
    """``total``: how many entries there are."""

    total: int

    @abstractmethod
    def entries(self, start: int) -> Iterator[Entry]:
        """All entries from number ``start`` on, in their order."""

    @abstractmethod
    def skipped(self) -> list[SkippedFile]:
        """Files that are no entries; complete once the entries were walked to their end."""


class DatasetImages(ImageSource):
    """The images of a dataset, in the order of its manifest."""

    def __init__(self, source: DatasetInput) -> None:
        self._items = load_manifest(source.dataset).items
        self._image_root = source.image_root
        self.total = len(self._items)

    def entries(self, start: int) -> Iterator[Entry]:
        for item in self._items[start:]:
            yield Entry(item.name, partial(read_image, self._image_root, item))

    def skipped(self) -> list[SkippedFile]:
        return []


class ArchiveImages(ImageSource):
    """The files of an archive, in the order in which they are stored.

    All of it is walked once before an image is read: one that does harm at its end is refused at once, and
    how many there are is known. Raises ArchiveError and its kinds.
    """

    def __init__(self, source: ArchiveInput, alive: Callable[[], None]) -> None:
        self._source, self.total = source, 0
        try:
            with open_archive(source.path, source.limits, source.name_encoding) as opened:
                for _ in opened.files():
                    self.total += 1
                    alive()
                self._skipped = [SkippedFile(name=name, reason=reason) for name, reason in opened.skipped]
        except ChoiceNeededError as error:
            # An import keeps its upload for a retry; here sending it again is the simpler way.
            raise ArchiveError(
                error.detail, hint="Send the archive again with `name_encoding`.", errors=error.errors
            ) from error
        if not self.total:
            seen = "; ".join(f"{file.name}: {file.reason}" for file in self._skipped[:3])
            raise ArchiveError(
                f"there is no file in the archive that can be read{f' ({seen})' if seen else ''}",
                hint=_NO_IMAGE,
            )

    def entries(self, start: int) -> Iterator[Entry]:
        with open_archive(self._source.path, self._source.limits, self._source.name_encoding) as opened:
            for number, file in enumerate(opened.files()):
                if number >= start:
                    # Read here: an archive is read by one thread, from its start to its end.
                    yield Entry(file.name, _kept(file.read))

    def skipped(self) -> list[SkippedFile]:
        return self._skipped


def open_source(source: ArchiveInput | DatasetInput, alive: Callable[[], None]) -> ImageSource:
    """``alive`` is called now and then. Raises DatasetError and its kinds for what cannot be read."""
    return ArchiveImages(source, alive) if isinstance(source, ArchiveInput) else DatasetImages(source)


def require_images(images: int, first: list[SkippedFile]) -> None:
    """Raises ArchiveError where no file of an archive was an image."""
    if not images:
        seen = "; ".join(f"{file.name}: {file.reason}" for file in first[:3])
        raise ArchiveError(f"there is no image in the archive ({seen})", hint=_NO_IMAGE)


def _kept(read: Callable[[], bytes]) -> Callable[[], bytes]:
    """Reads now, and gives what was read, or raises why not, when asked."""
    try:
        return partial(bytes, read())
    except DamagedEntryError as error:
        return partial(_raise, error)


def _raise(error: DamagedEntryError) -> bytes:
    raise error
