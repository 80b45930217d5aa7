"""What a HEIF or AVIF file makes its decoder compute, read from its boxes before anything is decoded.

The size in the header does not bound that: a grid may name one large tile a thousand times, and libavif
scales an AV1 frame of any size to the size that the header gives. Boxes: ISO/IEC 14496-12 and 23008-12; the
sequence header: AV1 Bitstream & Decoding Process Specification, 5.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_DEEPEST = 8
_DERIVED = frozenset({b"grid", b"iovl", b"iden", b"tmap"})
_SEQUENCE_HEADER = 1


@dataclass(frozen=True)
class CodedPixels:
    """What is decoded for the first image. ``total``: all tiles, and the planes that belong to it."""

    largest: int = 0
    total: int = 0


def count_coded_pixels(data: bytes) -> CodedPixels:
    """Raises ValueError for boxes that are damaged or cut short."""
    try:
        return _count(data)
    except (struct.error, IndexError) as error:
        raise ValueError("its boxes are damaged or cut short") from error


@dataclass
class _Items:
    """The items of a ``meta`` box by their ids. ``extents``: (start, end) in the file."""

    primary: int | None = None
    kinds: dict[int, bytes] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    properties: dict[int, list[int]] = field(default_factory=dict)
    parts: dict[int, list[int]] = field(default_factory=dict)
    planes: dict[int, list[int]] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    counts: dict[int, CodedPixels] = field(default_factory=dict)
    unread: int = 0
    """Bytes that may still be looked at: no two items of a sound file share theirs."""


def _count(data: bytes) -> CodedPixels:
    counts = CodedPixels()
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            items = _read_items(data, start + 4, end)
            items.unread = len(data)
            shown = [] if items.primary is None else [items.primary, *items.planes.get(items.primary, ())]
            counts = _join(counts, *(_count_item(data, items, item, 0) for item in shown))
        elif kind == b"moov":
            frames = [_first_frame(data, *track) for track in _inside(data, start, end, b"trak")]
            counts = _join(counts, *(CodedPixels(pixels, pixels) for pixels in frames))
    return counts


def _join(*counts: CodedPixels) -> CodedPixels:
    return CodedPixels(max(count.largest for count in counts), sum(count.total for count in counts))


def _count_item(data: bytes, items: _Items, item: int, depth: int) -> CodedPixels:
    if depth > _DEEPEST:
        raise ValueError("its images are nested too deeply")
    if item not in items.counts:
        sizes = [items.sizes[index - 1] for index in items.properties.get(item, ()) if index]
        own, kind = max(sizes, default=0), items.kinds.get(item)
        parts: list[CodedPixels] = []
        if kind in _DERIVED:
            parts = [_count_item(data, items, part, depth + 1) for part in items.parts.get(item, ())]
        elif kind == b"av01":
            own = max(own, _largest_frame(_content(data, items, item)))
        items.counts[item] = _join(CodedPixels(own, own), *parts)
    return items.counts[item]


def _content(data: bytes, items: _Items, item: int) -> bytes:
    extents = items.extents.get(item, ())
    items.unread -= sum(end - start for start, end in extents)
    if items.unread < 0:
        raise ValueError("its items overlap")
    return b"".join(data[start:end] for start, end in extents)


def _first_frame(data: bytes, start: int, end: int) -> int:
    """Pixels of the first frame of a track; 0 for one that is not of AV1."""
    table = (start, end)
    for kind in (b"mdia", b"minf", b"stbl"):
        table = next(_inside(data, *table, kind), (0, 0))
    offset, size = None, 0
    for kind, begin, _ in _boxes(data, *table):
        if kind == b"stco":
            (offset,) = struct.unpack_from(">L", data, begin + 8)
        elif kind == b"co64":
            (offset,) = struct.unpack_from(">Q", data, begin + 8)
        elif kind == b"stsz":
            fixed, count = struct.unpack_from(">LL", data, begin + 4)
            size = fixed or (struct.unpack_from(">L", data, begin + 12)[0] if count else 0)
        elif kind == b"stsd" and data[begin + 12 : begin + 16] != b"av01":
            return 0
    return 0 if offset is None else _largest_frame(data[offset : offset + size])


def _read_items(data: bytes, start: int, end: int) -> _Items:
    items = _Items()
    locations, idat = (0, 0), 0
    for kind, begin, stop in _boxes(data, start, end):
        if kind == b"pitm":
            items.primary = _number(data, begin + 4, 2 if data[begin] == 0 else 4)
        elif kind == b"iinf":
            entries = begin + (6 if data[begin] == 0 else 8)
            for _, entry, _ in _boxes(data, entries, stop):
                wide = 2 if data[entry] < 3 else 4
                items.kinds[_number(data, entry + 4, wide)] = data[entry + 6 + wide : entry + 10 + wide]
        elif kind == b"iref":
            _read_references(data, begin, stop, items)
        elif kind == b"iprp":
            _read_properties(data, begin, stop, items)
        elif kind == b"iloc":
            locations = (begin, stop)
        elif kind == b"idat":
            idat = begin
    if locations != (0, 0):
        _read_locations(data, locations[0], idat, items)
    return items


def _read_references(data: bytes, start: int, end: int, items: _Items) -> None:
    wide = 2 if data[start] == 0 else 4
    for kind, begin, _ in _boxes(data, start + 4, end):
        source = _number(data, begin, wide)
        count = _number(data, begin + wide, 2)
        targets = [_number(data, begin + wide + 2 + index * wide, wide) for index in range(count)]
        if kind == b"dimg":
            items.parts.setdefault(source, []).extend(targets)
        elif kind == b"auxl":
            for target in targets:
                items.planes.setdefault(target, []).append(source)


def _read_properties(data: bytes, start: int, end: int, items: _Items) -> None:
    for kind, begin, stop in _boxes(data, start, end):
        if kind == b"ipco":
            for name, entry, _ in _boxes(data, begin, stop):
                width, height = struct.unpack_from(">LL", data, entry + 4) if name == b"ispe" else (0, 0)
                items.sizes.append(width * height)
        elif kind == b"ipma":
            _read_associations(data, begin, items)


def _read_associations(data: bytes, start: int, items: _Items) -> None:
    wide, index_bytes = (2 if data[start] == 0 else 4), (2 if data[start + 3] & 1 else 1)
    place = start + 8
    for _ in range(_number(data, start + 4, 4)):
        item, count = _number(data, place, wide), data[place + wide]
        place += wide + 1
        indexes = items.properties.setdefault(item, [])
        for _ in range(count):
            # The highest bit says whether a reader must know the property.
            indexes.append(_number(data, place, index_bytes) & (0x7FFF if index_bytes == 2 else 0x7F))
            place += index_bytes


def _read_locations(data: bytes, start: int, idat: int, items: _Items) -> None:
    version = data[start]
    offset_bytes, length_bytes = data[start + 4] >> 4, data[start + 4] & 15
    base_bytes, index_bytes = data[start + 5] >> 4, data[start + 5] & 15 if version else 0
    wide = 2 if version < 2 else 4
    count, place = _number(data, start + 6, wide), start + 6 + wide
    for _ in range(count):
        item = _number(data, place, wide)
        place += wide
        method = _number(data, place, 2) & 15 if version else 0
        place += (2 if version else 0) + 2
        base = _number(data, place, base_bytes) + (idat if method == 1 else 0)
        extents, place = _number(data, place + base_bytes, 2), place + base_bytes + 2
        for _ in range(extents):
            place += index_bytes
            begin = base + _number(data, place, offset_bytes)
            length = _number(data, place + offset_bytes, length_bytes)
            # A length of 0 is all the rest.
            items.extents.setdefault(item, []).append((begin, begin + length if length else len(data)))
            place += offset_bytes + length_bytes


def _largest_frame(stream: bytes) -> int:
    """Pixels of the largest frame that the sequence headers of an AV1 stream allow."""
    largest, place = 0, 0
    while place < len(stream):
        header = stream[place]
        kind, has_extension, has_size = header >> 3 & 15, header & 4, header & 2
        place += 2 if has_extension else 1
        size = len(stream) - place
        if has_size:
            size, place = _leb128(stream, place)
        if kind == _SEQUENCE_HEADER:
            largest = max(largest, _frame_pixels(stream[place : place + size]))
        place += size
    return largest


def _frame_pixels(header: bytes) -> int:
    bits = _Bits(header)
    bits.read(4)
    delay_bits = 0
    if bits.read(1):  # reduced_still_picture_header
        bits.read(5)
    else:
        if bits.read(1):  # timing_info_present_flag
            bits.read(64)
            if bits.read(1):
                bits.read_uvlc()
            if bits.read(1):  # decoder_model_info_present_flag
                delay_bits = bits.read(5) + 1
                bits.read(42)
        has_display_delay = bits.read(1)
        for _ in range(bits.read(5) + 1):
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)
            if delay_bits and bits.read(1):
                bits.read(2 * delay_bits + 1)
            if has_display_delay and bits.read(1):
                bits.read(4)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return (bits.read(width_bits) + 1) * (bits.read(height_bits) + 1)


class _Bits:
    """Bits of a byte string, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data[:256], "big"), 8 * len(data[:256])

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("its sequence header is cut short")
        return self._value >> self._left & ((1 << count) - 1)

    def read_uvlc(self) -> int:
        zeros = 0
        while not self.read(1):
            zeros += 1
        return self.read(zeros) + (1 << zeros) - 1


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two places: their kind, and where their content starts and ends."""
    while start < end:
        size, kind = struct.unpack_from(">L4s", data, start)
        content = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, content)
            content += 8
        elif size == 0:
            size = end - start
        if not content - start <= size <= end - start:
            raise ValueError("its boxes are damaged or cut short")
        yield kind, content, start + size
        start += size


def _inside(data: bytes, start: int, end: int, wanted: bytes) -> Iterator[tuple[int, int]]:
    return ((begin, stop) for kind, begin, stop in _boxes(data, start, end) if kind == wanted)


def _number(data: bytes, place: int, size: int) -> int:
    if place + size > len(data):
        raise ValueError("its boxes are damaged or cut short")
    return int.from_bytes(data[place : place + size], "big")


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 56, 7):
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if not byte & 128:
            return value, place
    raise ValueError("its stream is damaged")
