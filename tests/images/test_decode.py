from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.config import Settings
from app.errors import ImageDecodeError, ImageTooLargeError
from app.images.decode import MAX_PIXELS, decode_image
from app.images.formats import FORMATS as READ_FORMATS
from app.images.formats import looks_like_image
from app.images.heif_boxes import count_coded_pixels
from app.images.opening import check_size
from app.images.webp_size import read_webp_size

FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "MPO", "AVIF"]
# Loupe has no encoder of HEIC. These were written by pillow-heif 1.8.1 from `gradient()`, with quality 95 and
# chroma 444; `noise` is that of the test for truncated images, `white` has 512 x 512 pixels.
HEIC = Path(__file__).with_name("heic")


def gradient(width: int = 60, height: int = 40) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 2]
    return Image.fromarray(np.stack(channels, axis=2).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    if file_format == "MPO":
        options = {"save_all": True, "append_images": [image], **options}
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = zlib.compress(b"\0" * 100)
    chunks = struct.pack(">L", 13) + chunk + struct.pack(">L", zlib.crc32(chunk))
    chunks += struct.pack(">L", len(data)) + b"IDAT" + data + struct.pack(">L", zlib.crc32(b"IDAT" + data))
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("file_format", FORMATS)
def test_each_format_is_decoded_and_named_by_its_content(file_format: str) -> None:
    image = gradient()
    decoded = decode_image(encode(image, file_format))
    assert decoded.format == file_format.lower()
    assert (decoded.width, decoded.height) == (60, 40)
    assert decoded.pixels.shape == (40, 60, 3)
    assert decoded.pixels.dtype == np.uint8
    difference = np.abs(decoded.pixels.astype(int) - np.asarray(image).astype(int))
    assert difference.mean() < {"JPEG": 8, "MPO": 8, "WEBP": 8, "GIF": 12, "AVIF": 8}.get(file_format, 0.001)


def test_heic_is_decoded_and_named_by_its_content() -> None:
    for name in ("gradient", "turned", "deep"):
        decoded = decode_image((HEIC / f"{name}.heic").read_bytes())
        assert (decoded.format, decoded.width, decoded.height) == ("heif", 60, 40)
        assert np.abs(decoded.pixels.astype(int) - np.asarray(gradient()).astype(int)).mean() < 8


def test_transparency_of_heic_and_avif_is_composited_on_white() -> None:
    clear = gradient()
    clear.putalpha(Image.new("L", clear.size, 0))
    for data in (encode(clear, "AVIF"), (HEIC / "transparent.heic").read_bytes()):
        decoded = decode_image(data)
        assert decoded.pixels[20, 10].min() > 250
        assert "transparency composited on white" in decoded.notes


def test_every_format_in_the_list_is_read_and_known_by_its_first_bytes() -> None:
    for entry in READ_FORMATS:
        is_heif = entry.name == "heif"
        data = (HEIC / "gradient.heic").read_bytes() if is_heif else encode(gradient(), entry.name.upper())
        assert decode_image(data).format == entry.name
        assert looks_like_image(data[:64])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright_whatever_its_exif_orientation(file_format: str, orientation: int) -> None:
    upright = gradient()
    stored_as: Callable[[Image.Image], Image.Image] = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encode(stored_as(upright), file_format, exif=exif))
    assert (decoded.width, decoded.height) == upright.size
    assert np.abs(decoded.pixels.astype(int) - np.asarray(upright).astype(int)).mean() < 8
    assert any("orientation" in note for note in decoded.notes) == (orientation != 1)


def test_a_damaged_exif_block_does_not_cost_the_picture() -> None:
    decoded = decode_image(encode(gradient(), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"))
    assert decoded.pixels.shape == (40, 60, 3)


@pytest.mark.parametrize("pixel_range", [(0, 1023), (0, 4095), (0, 16383), (100, 3000), (0, 65535)])
def test_sixteen_bit_grey_is_scaled_from_its_range_and_clipped_in_words(pixel_range: tuple[int, int]) -> None:
    low, high = pixel_range
    deep = np.array([[low, high, (low + high) // 2, low + 1]], np.uint16)
    decoded = decode_image(encode(Image.fromarray(deep), "PNG"), pixel_range=pixel_range)
    assert decoded.pixels[0, :2, 0].tolist() == [0, 255]
    assert np.array_equal(
        decoded.pixels[0, :, 0], np.floor((deep[0].astype(float) - low) / (high - low) * 255 + 0.5)
    )
    assert (decoded.largest, decoded.is_clipped, len(decoded.notes)) == (high, False, 1)

    beyond = np.array([[low // 2, min(high * 2, 65535)]], np.uint16)
    decoded = decode_image(encode(Image.fromarray(beyond), "PNG"), pixel_range=pixel_range)
    assert decoded.pixels[0, :, 0].tolist() == [0, 255]
    assert decoded.is_clipped == (pixel_range != (0, 65535)) == any("clipped" in n for n in decoded.notes)


def test_the_range_does_not_concern_pictures_of_8_bits() -> None:
    data = encode(gradient(), "PNG")
    narrow = decode_image(data, pixel_range=(0, 1023))
    assert np.array_equal(narrow.pixels, decode_image(data).pixels)
    assert narrow.largest is None


def test_sixteen_bit_grey_is_divided_by_257_whatever_the_brightest_pixel() -> None:
    deep = np.array([[0, 257, 128, 129, 32896, 65535]], np.uint16)
    for file_format in ("PNG", "TIFF"):
        decoded = decode_image(encode(Image.fromarray(deep), file_format))
        assert decoded.pixels[0, :, 0].tolist() == [0, 1, 0, 1, 128, 255]
        assert np.ptp(decoded.pixels, axis=2).max() == 0
        assert any("257" in note for note in decoded.notes)


def test_32_bit_integers_within_16_bits_are_taken_as_16_bit() -> None:
    inside = Image.fromarray(np.array([[0, 65535]], np.int32))
    assert decode_image(encode(inside, "TIFF")).pixels[0, :, 0].tolist() == [0, 255]
    outside = Image.fromarray(np.array([[-1, 70000]], np.int32))
    with pytest.raises(ImageDecodeError, match="no fixed range"):
        decode_image(encode(outside, "TIFF"))


def test_floating_point_pixels_are_refused_with_a_hint() -> None:
    with pytest.raises(ImageDecodeError, match="floating-point") as caught:
        decode_image(encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))
    assert caught.value.hint


def test_sixteen_bit_colour_is_stated() -> None:
    row = b"\0" + struct.pack(">6H", 0, 32896, 65535, 257, 256, 255)
    body = [
        (b"IHDR", struct.pack(">LLBBBBB", 2, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))
        for name, content in body
    )
    decoded = decode_image(data)
    assert decoded.pixels[0].tolist() == [[0, 128, 255], [1, 1, 0]]
    assert any("16-bit" in note for note in decoded.notes)


def test_transparency_is_composited_on_white() -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    decoded = decode_image(encode(Image.fromarray(pixels), "PNG"))
    assert decoded.pixels[0].tolist() == [[10, 20, 30], [255, 255, 255], [127, 127, 127]]
    assert decoded.notes == ("transparency composited on white",)


def test_an_opaque_alpha_channel_changes_nothing_and_is_not_noted() -> None:
    image = gradient()
    with_alpha = image.copy()
    with_alpha.putalpha(255)
    decoded = decode_image(encode(with_alpha, "PNG"))
    assert np.array_equal(decoded.pixels, np.asarray(image))
    assert decoded.notes == ()


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_transparent_palette_entry_becomes_white(transparency: object) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.putdata([0, 1])
    decoded = decode_image(encode(image, "PNG", transparency=transparency))
    assert decoded.pixels[0].tolist() == [[255, 255, 255], [0, 200, 0]]


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK", "YCbCr"])
def test_every_pixel_kind_becomes_rgb_and_the_conversion_is_stated(mode: str) -> None:
    decoded = decode_image(encode(gradient().convert(mode), "TIFF"))
    assert decoded.pixels.shape == (40, 60, 3)
    assert decoded.mode == mode
    assert mode == "LA" or decoded.notes


def test_cmyk_jpeg_keeps_its_colours() -> None:
    decoded = decode_image(encode(Image.new("RGB", (32, 32), (250, 10, 10)).convert("CMYK"), "JPEG"))
    assert decoded.pixels[16, 16, 0] > 230
    assert decoded.pixels[16, 16, 1:].max() < 40
    assert any("CMYK" in note for note in decoded.notes)


def test_of_several_pictures_in_a_heic_the_first_is_used() -> None:
    decoded = decode_image((HEIC / "several.heic").read_bytes())
    assert decoded.pixels[8, 8, 0] > 240
    assert "first of several frames or pages used" in decoded.notes


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_or_pages_the_first_is_used(file_format: str) -> None:
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    decoded = decode_image(encode(first, file_format, save_all=True, append_images=[second]))
    assert decoded.pixels[8, 8].tolist()[0] > 240
    assert decoded.pixels[8, 8].tolist()[2] < 10
    assert "first of several frames or pages used" in decoded.notes


@pytest.mark.parametrize("file_format", [*FORMATS, "HEIC"])
def test_a_truncated_picture_is_an_error_and_never_half_a_picture(file_format: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (48, 48, 3), np.uint8)
    data = (
        (HEIC / "noise.heic").read_bytes()
        if file_format == "HEIC"
        else encode(Image.fromarray(noise), file_format)
    )
    for kept in (1, 8, 30, len(data) // 4, len(data) // 3):
        with pytest.raises(ImageDecodeError) as caught:
            decode_image(data[:kept])
        assert caught.value.hint


@pytest.mark.parametrize("file_format", [*FORMATS, "HEIC"])
def test_flipped_bytes_give_a_picture_or_a_decode_error_and_nothing_else(file_format: str) -> None:
    heic = (HEIC / "gradient.heic").read_bytes()
    data = heic if file_format == "HEIC" else encode(gradient(), file_format)
    rng = np.random.default_rng(7)
    for _ in range(150):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 3):
            damaged[position] = rng.integers(0, 256)
        try:
            decoded = decode_image(bytes(damaged), max_pixels=100_000)
        except ImageDecodeError:
            continue
        assert decoded.pixels.shape == (decoded.height, decoded.width, 3)


# The kinds of data that carry checksums of their pixels.
CHECKED: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("PNG", {}),
    "palette PNG": ("PNG", {"bits": 4}),
    "APNG": ("PNG", {"save_all": True, "append_images": [Image.new("RGB", (48, 48))]}),
    "stored PNG": ("PNG", {"compress_level": 0}),
    "TIFF, deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
}


@pytest.mark.parametrize("kind", CHECKED)
def test_one_flipped_byte_among_the_pixels_is_damage_where_the_format_has_checksums(kind: str) -> None:
    file_format, options = CHECKED[kind]
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 48, 3), np.uint8))
    image = noise.quantize(16) if "palette" in kind else noise
    data = encode(image, file_format, **options)
    assert decode_image(data).width == 48
    start = max(data.find(b"IDAT"), 8) + 10
    for position in np.linspace(start, start + 900, 40).astype(int):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        with pytest.raises(ImageDecodeError, match="damaged"):
            decode_image(bytes(damaged))


def test_a_png_that_lost_its_last_bytes_is_damaged_only_where_they_are_of_its_pixels() -> None:
    data = encode(gradient(), "PNG")
    end_of_pixels = len(data) - 12
    assert decode_image(data[:end_of_pixels]).width == 60
    for lost in (1, 4, 5, 9):
        with pytest.raises(ImageDecodeError, match="cut short"):
            decode_image(data[: end_of_pixels - lost])


def test_what_a_png_can_do_without_may_be_damaged() -> None:
    frames = [Image.new("RGB", (16, 16), "blue")]
    data = bytearray(encode(Image.new("RGB", (16, 16), "red"), "PNG", save_all=True, append_images=frames))
    data[data.index(b"fdAT") + 12] ^= 0xFF
    decoded = decode_image(bytes(data) + b"left over")
    assert decoded.pixels[8, 8].tolist() == [255, 0, 0]
    assert decoded.notes == ("first of several frames or pages used",)


@pytest.mark.parametrize("side", [10_955, 13_400, 15_000, 60_000])
def test_an_enormous_picture_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(ImageTooLargeError) as caught:
        decode_image(png_header(side, side))
    assert caught.value.detail == (
        f"the image has {side} x {side} = {side * side / 1e6:.1f} million pixels, the limit is 120 million"
    )
    assert "LOUPE_MAX_PIXELS" in str(caught.value.hint)
    assert caught.value.status == 413


def with_size(data: bytes, width: int, height: int) -> bytes:
    """A HEIF or AVIF file whose boxes give another size than its frames have."""
    changed, place = bytearray(data), 0
    while (place := changed.find(b"ispe", place)) >= 0:
        changed[place + 8 : place + 16] = struct.pack(">LL", width, height)
        place += 4
    return bytes(changed)


def test_an_enormous_heic_or_avif_is_refused_by_its_header() -> None:
    for data in ((HEIC / "gradient.heic").read_bytes(), encode(gradient(), "AVIF")):
        with pytest.raises(ImageTooLargeError, match="million pixels") as caught:
            decode_image(with_size(data, 12_000, 12_000))
        assert caught.value.status == 413


def test_a_frame_that_is_larger_than_the_header_says_is_not_decoded() -> None:
    white = Image.new("RGB", (1000, 1000), "white")
    with pytest.raises(ImageTooLargeError, match=r"1\.0 million"):
        decode_image(with_size(encode(white, "AVIF"), 64, 64), max_pixels=10_000)
    with pytest.raises(ImageDecodeError, match="512x512"):  # by libheif
        decode_image(with_size((HEIC / "white.heic").read_bytes(), 64, 64))


def test_an_animation_whose_frames_are_larger_than_its_header_says_is_not_decoded() -> None:
    frames = [Image.new("RGB", (1000, 1000), colour) for colour in ("white", "red")]
    data = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert count_coded_pixels(with_size(data, 64, 64)).largest == 1_000_000


def test_the_tiles_of_a_picture_count_as_often_as_they_are_decoded() -> None:
    data = (HEIC / "tiles.heic").read_bytes()
    coded = count_coded_pixels(data)
    assert coded.largest == 300 * 200
    assert coded.total == 300 * 200 + 5 * 4 * 64 * 64
    assert decode_image(data, max_pixels=60_000).width == 300
    place = data.find(b"dimg") + 8
    every_tile = data[place : place + 2 * 20]
    often = data.replace(every_tile, every_tile[:2] * 20)
    assert count_coded_pixels(often).total == coded.total


def test_boxes_that_point_at_each_other_or_outside_of_the_file_are_damaged() -> None:
    data = (HEIC / "tiles.heic").read_bytes()
    place = data.find(b"dimg") + 4
    own = data[place : place + 2]
    circular = data[: place + 4] + own * 20 + data[place + 44 :]
    with pytest.raises(ImageDecodeError):
        decode_image(circular)
    for kept in range(len(data)):
        with pytest.raises(ImageDecodeError):
            decode_image(data[:kept])


def test_without_the_heic_decoder_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.images.opening._heif_plugin", tuple)
    with pytest.raises(ImageDecodeError, match="pillow-heif"):
        decode_image((HEIC / "gradient.heic").read_bytes())
    assert decode_image(encode(gradient(), "AVIF")).format == "avif"


def test_the_default_limit_is_the_settings() -> None:
    assert Settings(_env_file=None).max_pixels == MAX_PIXELS


def test_a_picture_of_a_camera_of_100_megapixels_is_read() -> None:
    decoded = decode_image(encode(Image.new("1", (11_648, 8_736)), "PNG"))
    assert (decoded.width, decoded.height) == (11_648, 8_736)


def test_the_pixel_limit_is_the_callers() -> None:
    for data in (
        encode(gradient(), "PNG"),
        encode(gradient(), "AVIF"),
        (HEIC / "gradient.heic").read_bytes(),
    ):
        assert decode_image(data, max_pixels=2400).width == 60
    with pytest.raises(ImageTooLargeError, match="60 x 40"):
        decode_image(encode(gradient(), "PNG"), max_pixels=2399)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (b"a,b,c\n1,2,3\n", "text"),
        ("schön, nicht?".encode(), "text"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\x01\x02\x03" * 10, "unknown"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, named: str) -> None:
    with pytest.raises(ImageDecodeError, match=named) as caught:
        decode_image(data)
    assert caught.value.hint


def test_formats_that_loupe_does_not_name_are_not_opened() -> None:
    with pytest.raises(ImageDecodeError):
        decode_image(encode(gradient(), "PPM"))


@pytest.mark.parametrize("size", [(1, 1), (300, 7), (16383, 2), (5, 16383)], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}]
)
def test_the_size_of_a_webp_is_read_before_it_is_opened(
    size: tuple[int, int], options: dict[str, Any]
) -> None:
    data = io.BytesIO()
    Image.new("RGB", size).save(data, "WEBP", **options)
    assert read_webp_size(data.getvalue()) == size
    with pytest.raises(ImageTooLargeError):
        check_size(data.getvalue(), size[0] * size[1] - 1)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPABCD" + bytes(30)])
def test_what_has_no_size_has_none(data: bytes) -> None:
    assert read_webp_size(data) is None


def test_importing_the_module_changes_no_global_setting_of_pillow() -> None:
    script = (
        "from PIL import Image, ImageFile; a = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES);"
        "import app.images.decode; assert a == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
