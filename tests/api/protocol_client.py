"""Asks a Loupe through the public client: runs in the tools' environment, which has it.

``URL MODEL SIDE FILE…``: prints as JSON what came back for these image files, and for grey pixels.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException


def main(url: str, model: str, side: str, *files: str) -> dict[str, Any]:
    client = http.InferenceServerClient(url)
    images = np.array([Path(name).read_bytes() for name in files], dtype=object)
    texts = np.array([base64.b64encode(image) for image in images], dtype=object)
    grey = np.full((2, int(side), int(side), 3), 128, np.uint8)
    binary = tensor("image", "BYTES", images)
    chosen = [
        http.InferRequestedOutput("label", binary_data=False),
        http.InferRequestedOutput("probabilities", class_count=1),
    ]
    found = client.infer(model, [binary], outputs=chosen, request_id="42")
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "server": client.get_server_metadata(),
        "models_ready": [
            client.is_model_ready(model),
            client.is_model_ready(model, "1"),
            client.is_model_ready(model, "99"),
        ],
        "metadata": client.get_model_metadata(model, "champion"),
        "image": {
            "binary": read(client.infer(model, [binary])),
            "column": read(client.infer(model, [tensor("image", "BYTES", images[:, np.newaxis])])),
            "version": read(client.infer(model, [binary], model_version="1", timeout=30_000_000)),
            "later": read(client.async_infer(model, [binary]).get_result()),
            "json": read(client.infer(model, [tensor("image", "BYTES", texts, binary_data=False)])),
        },
        "pixels": {
            "uint8": read(client.infer(model, [tensor("pixels", "UINT8", grey)])),
            "fp32": read(client.infer(model, [tensor("pixels", "FP32", grey.astype(np.float32))])),
            "json": read(client.infer(model, [tensor("pixels", "UINT8", grey, binary_data=False)])),
        },
        "chosen": [
            found.get_response()["id"],
            found.as_numpy("label").tolist(),
            [text.decode() for text in found.as_numpy("probabilities").ravel()],
        ],
        "errors": [
            error_of(lambda: client.infer("nothing", [binary])),
            error_of(lambda: client.infer(model, [tensor("image", "BYTES", np.array([b"x"], object))])),
            error_of(lambda: client.infer(model, [binary], priority=1)),
            error_of(lambda: client.infer(model, [binary], request_compression_algorithm="gzip")),
            error_of(lambda: client.get_model_config(model)),
        ],
    }


def tensor(name: str, kind: str, values: Any, **options: Any) -> Any:
    made = http.InferInput(name, list(values.shape), kind)
    return made.set_data_from_numpy(values, **options)


def read(answer: Any) -> list[Any]:
    """Labels and probabilities; these by their bytes, which must be equal."""
    labels = [text.decode() for text in answer.as_numpy("label")]
    assert answer.as_numpy("index").dtype == np.int64
    return [labels, answer.as_numpy("probabilities").astype("<f4").tobytes().hex()]


def error_of(ask: Any) -> list[str]:
    try:
        ask()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    raise AssertionError("it was answered")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
