"""The ways in to a prediction, and to other answers about images. Each limit on them goes by these lists, so
that it misses none.
"""

from __future__ import annotations

import re

PREDICTION_ROUTES = (
    "/predict",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
)
"""Templates of paths, for POST."""
SIMILAR_ROUTE = "/datasets/{dataset}/similar"
IMAGE_ROUTES = (*PREDICTION_ROUTES, SIMILAR_ROUTE)
"""All that are asked about an image in the body and answer at once."""

_PATHS = "|".join(re.sub(r"\{\w+\}", "[^/]+", template) for template in IMAGE_ROUTES)
_IMAGE_PATH = re.compile(f"({_PATHS})/?")
_PROTOCOL_PATH = re.compile(r"/v2(/.*)?", re.DOTALL)

HEAD_LENGTH = "Inference-Header-Content-Length"
"""The protocol's header for bodies that go on in binary: how many bytes of them are JSON."""


def is_image_path(path: str) -> bool:
    """Whether a request's path is one of these routes'."""
    return _IMAGE_PATH.fullmatch(path) is not None


def is_protocol_path(path: str) -> bool:
    """Whether clients of the Open Inference Protocol ask there."""
    return _PROTOCOL_PATH.fullmatch(path) is not None
