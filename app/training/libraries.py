"""Loading TensorFlow in a child, with what only Loupe's children need set first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading_tensorflow() -> Iterator[None]:
    """For a block that imports it. TensorFlow takes seconds: imported where it is used, and not at the top of
    a child's module, a signal that comes meanwhile is already answered.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Keras loads scikit-learn where it is, for wrappers that nothing here uses: a fifth of the start.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["sklearn"]
