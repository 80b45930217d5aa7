"""The ways in to a prediction. Each limit on predictions goes by this list, so that it misses none."""

from __future__ import annotations

import re

PREDICTION_ROUTES = (
    "/predict",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
)
"""Templates of paths, for POST."""

_PATHS = "|".join(re.sub(r"\{\w+\}", "[^/]+", template) for template in PREDICTION_ROUTES)
_PREDICTION_PATH = re.compile(f"({_PATHS})/?")
_PROTOCOL_PATH = re.compile(r"/v2(/.*)?", re.DOTALL)

HEAD_LENGTH = "Inference-Header-Content-Length"
"""The protocol's header for bodies that go on in binary: how many bytes of them are JSON."""


def is_prediction_path(path: str) -> bool:
    """Whether a request's path is one of these routes'."""
    return _PREDICTION_PATH.fullmatch(path) is not None


def is_protocol_path(path: str) -> bool:
    """Whether clients of the Open Inference Protocol ask there."""
    return _PROTOCOL_PATH.fullmatch(path) is not None
