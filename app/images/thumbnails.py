"""Thumbnails: an image of any format and size as a JPEG of at most so many pixels a side.

JPEG, since every viewer shows it and it takes a tenth of the time of WebP or PNG to write. What it lacks is
not missed: a decoded image has neither transparency nor more than 8 bits a channel.
"""

from __future__ import annotations

import hashlib
import io
import json

import PIL
from PIL import Image

from app.images.decode import DecodedImage, PixelRange
from app.images.resize import Fit, Resize, rule_for

MEDIA_TYPE = "image/jpeg"
SMALLEST, LARGEST = 16, 1024
_QUALITY = 85


def fit_within(width: int, height: int, longest: int) -> Fit:
    """Keeps the image's shape, no side longer than ``longest``; a smaller image stays as large as it is."""
    scale = min(1.0, longest / max(width, height))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return Fit(rule_for(Resize.STRETCH), size)


def encode_thumbnail(image: DecodedImage) -> bytes:
    """The JPEG of an image that was fitted."""
    output = io.BytesIO()
    Image.fromarray(image.pixels).save(output, "JPEG", quality=_QUALITY)
    return output.getvalue()


def digest_thumbnail(sha256: str, pixel_range: PixelRange | None, fit: Fit) -> str:
    """What all the bytes of a thumbnail follow from. ``sha256``: of the original."""
    made_by = [sha256, pixel_range, fit.rule.name, fit.size, _QUALITY, PIL.__version__]
    return hashlib.sha256(json.dumps(made_by).encode()).hexdigest()
