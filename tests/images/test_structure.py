"""Headers of thousands of parts: counted before a decoder reads them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from app.errors import ImageDecodeError
from app.images.cost import may_be_light
from app.images.decode import decode_image
from app.images.jpeg_scans import count_scans
from app.images.structure import count_parts
from tests.images.hostile import (
    flat,
    with_chunks,
    with_comments,
    with_empty_scans,
    with_segments,
    with_strips,
)
from tests.images.test_resize import FORMATS, encode, scene

MADE: dict[str, Callable[[int], bytes]] = {
    "JPEG": with_segments,
    "PNG": with_chunks,
    "GIF": with_comments,
    "TIFF": with_strips,
}


@pytest.mark.parametrize("kind", MADE)
def test_a_file_of_thousands_of_parts_is_not_opened_where_others_wait(kind: str) -> None:
    assert may_be_light(MADE[kind](10))
    assert not may_be_light(MADE[kind](20_000))


@pytest.mark.parametrize("kind", MADE)
def test_a_file_of_hundreds_of_thousands_of_parts_is_refused_at_once(kind: str) -> None:
    data = MADE[kind](400_000)
    began = time.process_time()
    with pytest.raises(ImageDecodeError, match="more parts than"):
        decode_image(data)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(("kind", "options"), FORMATS, ids=str)
def test_what_programs_write_has_few_parts(kind: str, options: dict[str, Any]) -> None:
    data = encode(scene(1500, 1000), kind, **options)
    assert count_parts(data, 100_000) < 1_100
    assert decode_image(data).width == 1500


COUNTED = [one for one in FORMATS if one[0] != "AVIF"]


@pytest.mark.parametrize(("kind", "options"), COUNTED, ids=str)
@pytest.mark.parametrize("rest", [bytes(2**21), b"\xff" * 2**21, b"!" * 2**21], ids=["0", "ff", "!"])
def test_what_follows_an_image_is_no_part_of_it(kind: str, options: dict[str, Any], rest: bytes) -> None:
    data = encode(scene(60, 40), kind, **options)
    assert count_parts(data + rest, 100_000) == count_parts(data, 100_000)
    assert decode_image(data + rest).width == 60


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"])
def test_what_is_cut_anywhere_is_counted_without_an_error(kind: str) -> None:
    data = flat(kind, 30)
    for end in range(min(len(data), 400)):
        count_parts(data[:end], 1000)


def test_a_run_length_coded_bmp_is_not_light() -> None:
    plain = flat("BMP", 600)
    assert may_be_light(plain)
    assert not may_be_light(plain[:30] + b"\x01" + plain[31:])


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (801, 603)], ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_what_a_decoder_reads_line_by_line_has_one_scan(mode: str, size: tuple[int, int]) -> None:
    image = scene(*size).convert(mode)
    assert count_scans(encode(image, "JPEG")) == 1
    assert count_scans(encode(image, "JPEG", quality=95, subsampling=0)) == 1
    progressive = encode(image, "JPEG", progressive=True)
    assert 2 <= count_scans(progressive) <= 20
    assert count_scans(with_empty_scans(16, 500)) > 500


def test_channels_in_scans_of_their_own_are_several_scans() -> None:
    """As `jpegtran -scans` writes them: a decoder keeps all of the image until the last one."""
    data = encode(scene(64, 48), "JPEG")
    start = data.index(b"\xff\xda")
    alone = data[:start] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + data[start:]
    assert count_scans(alone) == 2
