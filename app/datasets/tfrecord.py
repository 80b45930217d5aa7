"""TFRecord files of a dataset at one input size: written once, verified, read at random through an index.

The files are ordinary TFRecords of ``tf.train.Example``; framing and encoding are done here so that neither
writing nor reading needs TensorFlow. Format: https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

from __future__ import annotations

import fcntl
import gzip
import json
import logging
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, cast

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from app.datasets.concurrency import ordered_map
from app.datasets.manifest import DatasetManifest, Item
from app.datasets.pictures import decode_item
from app.errors import DatasetError
from app.host.files import folder_aside, write_json
from app.images.decode import PixelRange
from app.images.resize import FIRST_RULE, Fit, ResizeRule

logger = logging.getLogger(__name__)

DEFAULT_SHARD_BYTES = 128 * 2**20
INDEX = "records.json"
FORMAT_VERSION = 1
_SHARD_OF, _OFFSETS, _LABELS = "shard_of.npy", "offsets.npy", "labels.npy"

Size = tuple[int, int]
Progress = Callable[[int, int], None]


def write_records(
    manifest: DatasetManifest,
    image_root: Path,
    size: Size,
    out: Path,
    *,
    rule: ResizeRule = FIRST_RULE,
    shard_bytes: int = DEFAULT_SHARD_BYTES,
    compression: Literal["gzip"] | None = None,
    progress: Progress | None = None,
    threads: int = 2,
) -> None:
    """Writes the images, decoded and resized by ``rule`` to ``size`` (height, width), to a new folder.

    One record an image, in the manifest's order, with the features image/raw (uint8, height by width by 3),
    image/height, image/width, image/channels, image/class/label, image/class/text, image/id, image/filename.
    The bytes depend on nothing but the dataset and the size. Raises DatasetError for an image that is
    missing or damaged.
    """
    out.mkdir(parents=True, exist_ok=True)
    label_of = {name: index for index, name in enumerate(manifest.classes)}
    raw_bytes = size[0] * size[1] * 3
    per_shard = max(1, shard_bytes // (raw_bytes + 512))
    shards = max(1, -(-len(manifest.items) // per_shard))
    suffix = ".tfrecord.gz" if compression else ".tfrecord"
    names = [f"records-{index:05d}-of-{shards:05d}{suffix}" for index in range(shards)]
    offsets = np.zeros(len(manifest.items), np.int64)
    labels = np.array([label_of[item.label] for item in manifest.items], np.int32)
    with ThreadPoolExecutor(threads) as pool:
        fit = partial(_fit, image_root, Fit(rule, size), manifest.pixel_range)
        pictures = ordered_map(pool, fit, manifest.items, ahead=4 * threads)
        for shard, name in enumerate(names):
            first = shard * per_shard
            with _create(out / name, compression) as file:
                position = 0
                for index in range(first, min(first + per_shard, len(manifest.items))):
                    item = manifest.items[index]
                    record = _frame(_encode_example(item, label_of[item.label], next(pictures)))
                    file.write(record)
                    position += len(record)
                    offsets[index] = position - 4 - raw_bytes  # only a checksum follows the pixels
                    if progress is not None:
                        progress(index + 1, len(manifest.items))
    np.save(out / _SHARD_OF, (np.arange(len(manifest.items)) // per_shard).astype(np.int32))
    np.save(out / _OFFSETS, offsets)
    np.save(out / _LABELS, labels)
    content = {
        "format_version": FORMAT_VERSION,
        "dataset": manifest.digest,
        "resize_rule": rule.name,
        "pixel_range": manifest.pixel_range,
        "image_size": size,
        "classes": manifest.classes,
        "items": len(manifest.items),
        "compression": compression,
        "shards": names,
        "files": {path.name: _check_values(path) for path in sorted(out.iterdir())},
    }
    write_json(out / INDEX, content)


def ensure_records(
    manifest: DatasetManifest,
    image_root: Path,
    size: Size,
    cache_root: Path,
    *,
    rule: ResizeRule = FIRST_RULE,
    progress: Progress | None = None,
) -> Path:
    """The folder of the records at ``size`` (height, width): written on first use, always checked.

    It appears under its name when it is complete; a damaged one is written again. Of several processes that
    ask at once, one writes and the others wait.
    """
    name = name_records(manifest, size, rule)
    folder = cache_root / name
    cache_root.mkdir(parents=True, exist_ok=True)
    with _lock(cache_root / f".{name}.lock"):
        if folder.exists():
            damage = find_damage(folder)
            if damage is None:
                return folder
            logger.warning("writing the records %s again: %s", name, damage)
            shutil.rmtree(folder)
        # Not synced: gigabytes that are checked at each use and can be written again.
        with folder_aside(folder, is_durable=False) as aside:
            write_records(manifest, image_root, size, aside, rule=rule, progress=progress)
    return folder


def name_records(manifest: DatasetManifest, size: Size, rule: ResizeRule = FIRST_RULE) -> str:
    """What their folder is called: the whole dataset's digest first, by which a deletion finds all."""
    whole = manifest.whole_digest or manifest.digest
    name = f"{whole}-{size[0]}x{size[1]}-{rule.name}"
    if manifest.pixel_range is not None:
        name += "-{}-{}".format(*manifest.pixel_range)
    if manifest.digest != whole:
        name += f"-{manifest.digest[:16]}"
    return name


def find_damage(folder: Path) -> str | None:
    """What is wrong with a records folder, by the checksum of each file; None if nothing."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["format_version"] != FORMAT_VERSION:
            return f"format version {index['format_version']}"
        for name, file in index["files"].items():
            if _check_values(folder / name) != file:
                return f"{name} is damaged"
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        return f"{INDEX} or a file is missing or damaged: {error}"
    return None


class RecordReader:
    """Random access to the images of an uncompressed records folder; safe to share between threads.

    ``labels``: int32 (len,), all labels in record order, which is the manifest's.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError) as error:
            raise DatasetError(
                f"{folder} holds no readable records: {error}", hint="Write the records again."
            ) from error
        if index["compression"] is not None:
            raise DatasetError(
                "compressed records cannot be read at random", hint="Write them without compression."
            )
        self.classes: tuple[str, ...] = tuple(index["classes"])
        self.image_size: Size = (index["image_size"][0], index["image_size"][1])
        self.labels: NDArray[np.int32] = np.load(folder / _LABELS)
        self._shard_of: list[int] = np.load(folder / _SHARD_OF).tolist()
        self._offsets: list[int] = np.load(folder / _OFFSETS).tolist()
        self._shards = [_map(folder / name) for name in index["shards"]]

    def __len__(self) -> int:
        return len(self.labels)

    def read(
        self, indices: Sequence[int] | NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Copies out the images at ``indices``, uint8 (n, height, width, 3), and labels, int32 (n,)."""
        chosen = np.asarray(indices, np.int64)
        height, width = self.image_size
        length = height * width * 3
        images = np.empty((len(chosen), length), np.uint8)
        for row, index in enumerate(chosen.tolist()):
            offset = self._offsets[index]
            images[row] = self._shards[self._shard_of[index]][offset : offset + length]
        return images.reshape(len(chosen), height, width, 3), self.labels[chosen]


def _fit(image_root: Path, fit: Fit, pixel_range: PixelRange | None, item: Item) -> NDArray[np.uint8]:
    return decode_item(image_root, item, pixel_range, fit).pixels


def _encode_example(item: Item, label: int, pixels: NDArray[np.uint8]) -> bytes:
    """A serialised ``tf.train.Example``, its features sorted by name but for the pixels, which come last."""
    features = [
        _feature("image/channels", _int64_list(pixels.shape[2])),
        _feature("image/class/label", _int64_list(label)),
        _feature("image/class/text", _bytes_list(item.label.encode())),
        _feature("image/filename", _bytes_list(item.name.encode())),
        _feature("image/height", _int64_list(pixels.shape[0])),
        _feature("image/id", _bytes_list(item.id.encode())),
        _feature("image/width", _int64_list(pixels.shape[1])),
        _feature("image/raw", _bytes_list(pixels.tobytes())),
    ]
    return _field(1, b"".join(features))  # Example.features


def _feature(name: str, value: bytes) -> bytes:
    return _field(1, _field(1, name.encode()) + _field(2, value))  # Features.feature: key and value of a map


def _bytes_list(value: bytes) -> bytes:
    return _field(1, _field(1, value))  # Feature.bytes_list, BytesList.value


def _int64_list(value: int) -> bytes:
    return _field(3, _field(1, _varint(value)))  # Feature.int64_list, Int64List.value, packed


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _frame(data: bytes) -> bytes:
    """One TFRecord: length, its masked CRC-32C, the data, the data's masked CRC-32C, all little-endian."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _masked_crc(length), data, _masked_crc(data)))


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _check_values(path: Path) -> dict[str, int]:
    """Length and CRC-32C of a file: catches what a disk or a killed process does to it."""
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(2**22):
            crc = google_crc32c.extend(crc, chunk)
    return {"bytes": path.stat().st_size, "crc32c": crc}


@contextmanager
def _create(path: Path, compression: Literal["gzip"] | None) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        if compression is None:
            yield file
        else:
            # No file name and no time in the gzip header: equal images give equal bytes.
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as compressed:
                yield cast("IO[bytes]", compressed)


def _map(path: Path) -> NDArray[np.uint8]:
    if path.stat().st_size == 0:
        return np.empty(0, np.uint8)
    return np.memmap(path, np.uint8, mode="r")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Holds an advisory lock; the operating system releases it even when the holder is killed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
