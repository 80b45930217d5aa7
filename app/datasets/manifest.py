"""What a dataset is: classes and images, kept as ``manifest.json``; the originals are content-addressed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from app.errors import DatasetError
from app.host.files import write_json
from app.images.decode import PixelRange

MANIFEST, REPORT = "manifest.json", "report.json"
FORMAT_VERSION = 1

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image.

    ``name``: its path inside the upload, without folders that wrap everything. ``split``: where the upload's
    own train, valid or test folder puts it. ``width`` and ``height`` are in pixels, upright. ``sha256`` and
    ``bytes`` are of the file as it came. ``notes``: the conversions that decoding needs. ``group``: the key
    of what it shares with others, such as one part or one patient; None: it has none. ``near_group``: the
    key of those that show the same thing; no part of the manifest, since it is found by looking.
    """

    id: str
    name: str
    label: str
    split: Split | None
    width: int
    height: int
    format: str
    sha256: str
    bytes: int
    notes: tuple[str, ...] = ()
    group: str | None = None
    near_group: str | None = None


@dataclass(frozen=True)
class DatasetManifest:
    """A dataset: ``classes`` in label order, ``items`` sorted by label and name, ``digest`` over all.

    ``pixel_range``: the values of its 16-bit greyscale that become black and white; None: 0 and 65,535.
    ``whole_digest``: that of the dataset from which a class map made this one; None: it is a whole one.
    """

    digest: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    pixel_range: PixelRange | None = None
    whole_digest: str | None = None

    @property
    def is_split(self) -> bool:
        """Whether the upload came in train, valid and test folders."""
        return any(item.split is not None for item in self.items)

    @property
    def class_counts(self) -> dict[str, int]:
        """Images of each class, in label order."""
        counts = Counter(item.label for item in self.items)
        return {name: counts[name] for name in self.classes}


def create_manifest(items: Iterable[Item], pixel_range: PixelRange | None = None) -> DatasetManifest:
    """Puts items into their order and computes the dataset's digest."""
    ordered = tuple(sorted(items, key=lambda item: (item.label, item.name)))
    digest = hashlib.sha256()
    for item in ordered:
        row = [item.label, item.split, item.name, item.sha256]
        if item.group is not None:  # a dataset without groups keeps the digest that it always had
            row.append(item.group)
        digest.update(json.dumps(row).encode() + b"\n")
    if pixel_range is not None:
        digest.update(json.dumps({"pixel_range": pixel_range}).encode() + b"\n")
    classes = tuple(sorted({item.label for item in ordered}))
    return DatasetManifest(digest.hexdigest(), classes, ordered, pixel_range)


def item_id(label: str, split: Split | None, name: str, sha256: str) -> str:
    """An image's id: the same whenever the same image is imported under the same name and label."""
    return "img_" + hashlib.sha256(json.dumps([label, split, name, sha256]).encode()).hexdigest()[:16]


def write_manifest(folder: Path, manifest: DatasetManifest) -> None:
    """Writes ``manifest.json``, whole or not at all."""
    items = [_to_row(item) for item in manifest.items]
    content: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "digest": manifest.digest,
        "classes": manifest.classes,
    }
    if manifest.pixel_range is not None:
        content["pixel_range"] = manifest.pixel_range
    write_json(folder / MANIFEST, content | {"items": items})


def _to_row(item: Item) -> dict[str, Any]:
    row = asdict(item)
    del row["near_group"]
    if item.group is None:  # an older Loupe still reads a dataset without groups
        del row["group"]
    return row


def load_manifest(folder: Path) -> DatasetManifest:
    """Reads a dataset's manifest. Raises DatasetError when it is missing, damaged or of another version."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise DatasetError(
                f"the manifest has version {content['format_version']}, this Loupe reads {FORMAT_VERSION}",
                hint="Import the dataset again.",
            )
        items = [Item(**{**item, "notes": tuple(item["notes"])}) for item in content["items"]]
        low_high = content.get("pixel_range")
        manifest = create_manifest(items, (low_high[0], low_high[1]) if low_high else None)
        if manifest.digest != content["digest"]:
            raise ValueError("its digest does not match its items")
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"the dataset's manifest cannot be read: {error}", hint="Import the dataset again."
        ) from error
    return manifest


def image_path(image_root: Path, sha256: str) -> Path:
    """Where the original file with this digest is stored; all datasets share the store."""
    return image_root / sha256[:2] / sha256


def read_image(image_root: Path, item: Item) -> bytes:
    """The original bytes of an image. Raises DatasetError when they are missing or not the imported ones."""
    try:
        data = image_path(image_root, item.sha256).read_bytes()
    except FileNotFoundError:
        data = None
    if data is None or hashlib.sha256(data).hexdigest() != item.sha256:
        raise _not_stored(item, "missing" if data is None else "damaged")
    return data


def require_image(image_root: Path, item: Item) -> None:
    """Raises DatasetError when the original file of an image is missing, or has another size."""
    try:
        is_whole = image_path(image_root, item.sha256).stat().st_size == item.bytes
    except FileNotFoundError:
        raise _not_stored(item, "missing") from None
    if not is_whole:
        raise _not_stored(item, "damaged")


def _not_stored(item: Item, state: str) -> DatasetError:
    return DatasetError(
        f"the stored image {item.name} ({item.id}) is {state}", hint="Import the dataset again to restore it."
    )
