"""The ways in to a prediction. Each limit on predictions goes by this list, so that it misses none."""

from __future__ import annotations

import re

PREDICTION_ROUTES = ("/predict",)
"""Templates of paths, for POST."""

_PATHS = "|".join(re.sub(r"\{\w+\}", "[^/]+", template) for template in PREDICTION_ROUTES)
_PREDICTION_PATH = re.compile(f"(/v1)?({_PATHS})/?")


def is_prediction_path(path: str) -> bool:
    """Whether a request's path is one of these routes', with or without ``/v1``."""
    return _PREDICTION_PATH.fullmatch(path) is not None
