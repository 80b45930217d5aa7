"""The resize rules: what version 1 gave it gives for ever, and version 2 is the same to the eye."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.errors import ArtifactError
from app.images.decode import decode_image
from app.images.resize import FIRST_RULE, Fit, Resize, get_rule, rule_for

SIZE = (48, 64)
FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {"quality": 95}),
    ("JPEG", {"quality": 95, "progressive": True}),
    ("JPEG", {"quality": 95, "subsampling": 0}),
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("BMP", {}),
    ("GIF", {}),
    ("AVIF", {"quality": 90}),
]
SIZES = [(1000, 750), (640, 480), (500, 3), (3, 500), (97, 33), (64, 48), (1, 1)]
"""(width, height)"""


def scene(width: int, height: int) -> Image.Image:
    """Soft colours, one corner marked, so that a wrong turn or mirror image is seen."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / max(1, width - 1)
    green = 255 * y / max(1, height - 1)
    blue = np.where((x < width / 3) & (y < height / 3), 220, 30)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))


def encode(image: Image.Image, kind: str, orientation: int = 1, **options: Any) -> bytes:
    data = io.BytesIO()
    if orientation != 1:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    image.save(data, kind, **options)
    return data.getvalue()


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize(("kind", "options"), FORMATS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_first_rule_is_the_whole_image_turned_upright_then_resized(
    kind: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    turnable = kind in ("JPEG", "PNG", "WEBP", "TIFF")
    for orientation in range(1, 9) if turnable and size == SIZES[1] else (1,):
        data = encode(scene(*size), kind, orientation, **options)
        whole = decode_image(data)
        height, width = SIZE
        expected = np.asarray(
            Image.fromarray(whole.pixels).resize((width, height), Image.Resampling.BILINEAR)
        )
        fitted = decode_image(data, fit=Fit(FIRST_RULE, SIZE))
        np.testing.assert_array_equal(fitted.pixels, expected)
        assert (fitted.width, fitted.height, fitted.notes) == (whole.width, whole.height, whole.notes)
        assert whole.pixels.shape == (whole.height, whole.width, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_the_first_rule_is_the_same_for_every_kind_of_pixel(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray((np.arange(300 * 200, dtype=np.uint16)).reshape(200, 300))
    else:
        image = scene(300, 200).convert(mode)
        if mode in ("LA", "RGBA"):
            image.putalpha(Image.linear_gradient("L").resize((300, 200)))
    data = encode(image, "TIFF" if mode in ("CMYK", "I;16") else "PNG")
    whole = decode_image(data).pixels
    expected = np.asarray(Image.fromarray(whole).resize((64, 48), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode_image(data, fit=Fit(FIRST_RULE, SIZE)).pixels, expected)


@pytest.mark.parametrize(("kind", "options"), FORMATS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_second_rule_is_the_first_one_to_the_eye(
    kind: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    data = encode(scene(*size), kind, **options)
    first, second = (
        decode_image(data, fit=Fit(rule, SIZE)).pixels for rule in (FIRST_RULE, rule_for("stretch"))
    )
    assert first.shape == second.shape == (*SIZE, 3)
    assert difference(first, second) < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("resize", Resize)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_that_is_stored_turned_is_fitted_upright(
    kind: str, resize: Resize, orientation: int
) -> None:
    data = encode(scene(640, 400), kind, orientation)
    whole = decode_image(data)
    upright = encode(Image.fromarray(whole.pixels), "PNG")
    turned = decode_image(data, fit=Fit(rule_for(resize), SIZE))
    assert (turned.width, turned.height) == (whole.width, whole.height)
    assert turned.pixels.shape == (*SIZE, 3)
    expected = decode_image(upright, fit=Fit(rule_for(resize), SIZE))
    assert difference(turned.pixels, expected.pixels) < 4


def test_a_jpeg_is_decoded_no_larger_than_needed() -> None:
    data = encode(scene(2000, 1500), "JPEG")
    file = Image.open(io.BytesIO(data))
    Fit(rule_for("stretch"), SIZE).reduce(file, is_turned=False)
    assert file.size == (250, 188)
    file = Image.open(io.BytesIO(data))
    Fit(FIRST_RULE, SIZE).reduce(file, is_turned=False)
    assert file.size == (2000, 1500)


def test_stretch_keeps_everything_crop_the_middle_and_letterbox_the_shape() -> None:
    halves = np.zeros((100, 400, 3), np.uint8)
    halves[:, :100], halves[:, 300:] = (255, 0, 0), (0, 0, 255)
    data = encode(Image.fromarray(halves), "PNG")
    fitted = {resize: decode_image(data, fit=Fit(rule_for(resize), (40, 40))).pixels for resize in Resize}
    stretched = fitted[Resize.STRETCH]
    assert (stretched[20, 2].tolist(), stretched[20, 37].tolist()) == ([255, 0, 0], [0, 0, 255])
    assert fitted[Resize.CROP].max() == 0
    boxed = fitted[Resize.LETTERBOX]
    assert (boxed[:15] == 128).all()
    assert (boxed[25:] == 128).all()
    assert (boxed[20, 2].tolist(), boxed[20, 20].tolist()) == ([255, 0, 0], [0, 0, 0])


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (2, 3)])
@pytest.mark.parametrize("resize", Resize)
def test_the_thinnest_image_is_fitted_too(resize: Resize, size: tuple[int, int]) -> None:
    for kind in ("JPEG", "PNG"):
        data = encode(scene(*size), kind)
        assert decode_image(data, fit=Fit(rule_for(resize), SIZE)).pixels.shape == (*SIZE, 3)


def test_resizing_averages_when_it_shrinks() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    data = encode(Image.fromarray(stripes), "PNG")
    for rule in (FIRST_RULE, rule_for("stretch")):
        small = decode_image(data, fit=Fit(rule, (8, 16))).pixels
        assert np.abs(small.astype(int) - 127).max() < 24


def test_a_rule_is_found_by_its_name_and_an_unknown_one_is_named() -> None:
    assert get_rule("pillow-bilinear-stretch-1") is FIRST_RULE
    assert [get_rule(rule_for(resize).name).resize for resize in Resize] == list(Resize)
    with pytest.raises(ArtifactError, match="'nearest-9'"):
        get_rule("nearest-9")
