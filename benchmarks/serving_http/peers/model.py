"""What every peer does with an image, in the fewest steps: reduced decode, resize, infer, top-k.

The peers run in an environment of their own (`.venv-peers`) and import nothing of Loupe.
"""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path(os.environ["PEER_FOLDER"])
"""Where the model's files lie."""
PORT, WORKERS, THREADS = (int(os.environ.get(f"PEER_{name}", 1)) for name in ("PORT", "WORKERS", "THREADS"))
LABELS: list[str] = json.loads((FOLDER / "labels.json").read_text(encoding="utf-8"))
_TOP = 5


def decode(data: bytes, width: int, height: int) -> NDArray[np.float32]:
    """float32 (1, height, width, 3), by the steps of Loupe's rule pillow-bilinear-stretch-2."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (width, height))
    resized = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(resized, np.float32)[np.newaxis]


def top_k(probabilities: NDArray[np.float32]) -> dict[str, Any]:
    order = np.argsort(-probabilities)[:_TOP]
    ranked = [{"label": LABELS[index], "probability": float(probabilities[index])} for index in order]
    return {"top": ranked[0], "predictions": ranked}


class LiteRtModel:
    """The very file that Loupe serves, one thread a call, an interpreter for each thread that calls."""

    def __init__(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        data = (FOLDER / "model.tflite").read_bytes()
        self._create: Callable[[], Any] = partial(Interpreter, model_content=data, num_threads=1)
        self._own = threading.local()

    def answer(self, data: bytes) -> dict[str, Any]:
        if (interpreter := getattr(self._own, "interpreter", None)) is None:
            interpreter = self._own.interpreter = self._create()
            interpreter.allocate_tensors()
            [self._own.input], [self._own.output] = (
                interpreter.get_input_details(),
                interpreter.get_output_details(),
            )
        _, height, width, _ = self._own.input["shape"]
        interpreter.set_tensor(self._own.input["index"], decode(data, int(width), int(height)))
        interpreter.invoke()
        return top_k(interpreter.get_tensor(self._own.output["index"])[0])
