"""16-bit greyscale that holds fewer bits: seen over the whole dataset, kept, and read so everywhere."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.datasets.depth import read_depth
from app.datasets.manifest import load_manifest
from app.datasets.tfrecord import RecordReader, ensure_records
from app.schemas.import_choices import ImportChoices


def deep(largest: int, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, largest + 1, (10, 12), np.uint16)
    pixels[0, 0] = largest
    output = io.BytesIO()
    Image.fromarray(pixels).save(output, "PNG")
    return output.getvalue()


def deep_colour(largest: int, seed: int, *, is_grey: bool = False) -> bytes:
    """16-bit RGB, or grey with an opaque alpha channel: Pillow writes neither."""
    channels = 2 if is_grey else 3
    pixels = np.random.default_rng(seed).integers(0, largest + 1, (8, 8, channels)).astype(">u2")
    pixels[0, 0] = largest
    if is_grey:
        pixels[..., 1] = 65535
    body = [
        (b"IHDR", struct.pack(">LLBBBBB", 8, 8, 16, 4 if is_grey else 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))
        for name, content in body
    )


def of(*largest: int) -> dict[str, bytes]:
    return {f"{'cat' if n % 2 else 'dog'}/{n}.png": deep(value, n) for n, value in enumerate(largest)}


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        ([1023, 10], (0, 1023)),
        ([512, 1], (0, 1023)),
        ([4095, 10], (0, 4095)),
        ([2048], (0, 4095)),
        ([16383, 4095], (0, 16383)),
        ([511], None),
        ([1024], None),
        ([4096], None),
        ([8191], None),
        ([16384], None),
        ([65535, 4095], None),
        ([], None),
        ([None, None], None),
        ([None, 4000], (0, 4095)),
    ],
)
def test_the_range_is_seen_where_it_is_clear(largest: list[int | None], expected: Any) -> None:
    assert read_depth(largest, None).pixel_range == expected


def test_an_import_keeps_the_range_that_it_saw(importer: Any, write_zip: Any, picture: Any) -> None:
    files = {**of(4095, 100, 3000, 20), "cat/colour.png": picture(1)}
    importer(write_zip(files))
    report = json.loads((importer.root / "dataset/report.json").read_text())
    manifest = load_manifest(importer.root / "dataset")
    assert manifest.pixel_range == (0, 4095)
    assert report["deep_grey"] == {
        "images": 4,
        "largest_value": 4095,
        "pixel_range": [0, 4095],
        "is_chosen": False,
        "images_beyond": 0,
    }
    assert any("4,095: 0 to 4095 is read as black to white" in sentence for sentence in report["advice"])
    notes = {note for item in manifest.items for note in item.notes}
    assert notes == {"16-bit greyscale scaled from 0 to 4095 and repeated to three channels"}


def test_the_range_can_be_chosen_and_makes_another_dataset(importer: Any, write_zip: Any) -> None:
    path = write_zip(of(4095, 100, 3000, 20))
    digests = set()
    for given, expected in (
        ("0-1023", (0, 1023)),
        ("4095", (0, 4095)),
        (None, (0, 4095)),
        ([0, 65535], None),
    ):
        digests.add(importer(path, choices=ImportChoices(pixel_range=given))["digest"])
        assert load_manifest(importer.root / "dataset").pixel_range == expected
    assert len(digests) == 3
    importer(path, choices=ImportChoices(pixel_range=[0, 1023]))
    advice = json.loads((importer.root / "dataset/report.json").read_text())["advice"]
    assert any("2 have values beyond 0 to 1023, which are clipped" in sentence for sentence in advice)


def test_dark_pictures_of_no_clear_range_are_an_advice(importer: Any, write_zip: Any) -> None:
    importer(write_zip(of(300, 100, 200, 20)))
    report = json.loads((importer.root / "dataset/report.json").read_text())
    assert report["deep_grey"]["pixel_range"] == [0, 65535]
    assert any("import again with its pixel_range" in sentence for sentence in report["advice"])


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        ([4095] * 8 + [65535], "65,535, but 8 of them stay within 4,095"),
        ([1000] * 3 + [70 * 256] * 2, "17,920, but 3 of them stay within 1,000"),
        ([1000] * 2 + [65535] * 2, None),
        ([9000] * 8 + [65535], None),
        ([65535], None),
    ],
)
def test_most_images_of_16_bits_being_dark_is_an_advice(largest: list[int], expected: str | None) -> None:
    advice = read_depth(largest, None).advise()
    assert [expected in sentence for sentence in advice if expected] == [True] * len(advice)
    assert bool(advice) == bool(expected)
    assert read_depth(largest, (0, 65535)).advise() == []


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        ([4095] * 4, (4, "4,095")),
        ([16383, 100], (2, "16,383")),
        ([1023] * 3 + [65535], (3, "1,023")),
        ([4095, 65535], None),
        ([16384] * 4, None),
        ([65535], None),
    ],
)
@pytest.mark.parametrize("is_grey", [False, True])
def test_dark_16_bit_colour_and_grey_with_transparency_is_an_advice(
    importer: Any, write_zip: Any, largest: list[int], expected: tuple[int, str] | None, is_grey: bool
) -> None:
    files = {
        f"{label}/{n}.png": deep_colour(value, seed + n, is_grey=is_grey)
        for label, seed in (("cat", 0), ("dog", 100))
        for n, value in enumerate(largest)
    }
    importer(write_zip(files))
    report = json.loads((importer.root / "dataset/report.json").read_text())
    advice = [sentence for sentence in report["advice"] if "16 bits a channel" in sentence]
    if expected is None:
        assert advice == []
    else:
        dark, most = 2 * expected[0], expected[1]
        start = (
            f"{dark} of {2 * len(largest)} images with 16 bits a channel have no value above {most} of 65,535"
        )
        assert [sentence[: len(start)] for sentence in advice] == [start]


@pytest.mark.parametrize(
    "value", ["4095-0", "-1", "0-65536", "a-b", [1], [0, 1, 2], 70000, "0--5", "-5-4095", "", "-"]
)
def test_what_is_no_range_is_refused_with_what_one_looks_like(value: Any) -> None:
    with pytest.raises(ValueError, match=r"(?s)pixel_range.*from 0 to 65535: 0-4095"):
        ImportChoices(pixel_range=value)


def test_records_hold_the_range_and_each_range_has_its_own(
    importer: Any, write_zip: Any, tmp_path: Any
) -> None:
    path = write_zip(of(4095, 4095, 4095, 4095))
    brightest = []
    for number, given in enumerate(([0, 4095], [0, 65535])):
        importer(path, str(number), choices=ImportChoices(pixel_range=given))
        manifest = load_manifest(importer.root / str(number))
        records = ensure_records(manifest, importer.images, (10, 12), tmp_path / "records")
        brightest.append(int(RecordReader(records).read([0, 1, 2, 3])[0].max()))
    assert brightest == [255, 16]
    assert len([path for path in (tmp_path / "records").iterdir() if path.is_dir()]) == 2
