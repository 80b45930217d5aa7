"""Writing the Open Inference Protocol's answers: JSON, or JSON with tensors behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import pack
from typing import Any

import numpy as np
from fastapi import Response
from numpy.typing import NDArray

from app.api.prediction_routes import HEAD_LENGTH
from app.schemas.inference_protocol import (
    InferOutput,
    InferRequest,
    InferResponse,
    OutputParameters,
    RequestedOutput,
    TensorMetadata,
    TensorParameters,
)

OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class Tensor:
    """``values``: numbers, or texts where the datatype is BYTES."""

    datatype: str
    shape: tuple[int, ...]
    values: NDArray[np.float32] | NDArray[np.int64] | list[str]

    def to_list(self) -> list[Any]:
        return self.values if isinstance(self.values, list) else self.values.ravel().tolist()

    def to_bytes(self) -> bytes:
        """Little-endian; a text has its length before it."""
        if isinstance(self.values, list):
            texts = [text.encode() for text in self.values]
            return b"".join(pack("<I", len(text)) + text for text in texts)
        return self.values.astype(self.values.dtype.newbyteorder("<")).tobytes()


def describe_outputs(classes: int) -> list[TensorMetadata]:
    return [
        TensorMetadata(name="probabilities", datatype="FP32", shape=[-1, classes]),
        TensorMetadata(name="label", datatype="BYTES", shape=[-1]),
        TensorMetadata(name="index", datatype="INT64", shape=[-1]),
    ]


def write_tensors(
    asked: InferRequest,
    model: str,
    version: int,
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
) -> Response:
    """``probabilities``: (images, classes), in the order of ``labels``."""
    answer = InferResponse(model_name=model, model_version=str(version), id=asked.id, outputs=[])
    behind = []
    for wanted in asked.outputs or [RequestedOutput(name=name) for name in _OUTPUTS]:
        tensor = _OUTPUTS[wanted.name](probabilities, labels, wanted.parameters)
        output = InferOutput(name=wanted.name, datatype=tensor.datatype, shape=list(tensor.shape))
        is_binary = wanted.parameters.binary_data
        if asked.parameters.binary_data_output if is_binary is None else is_binary:
            behind.append(tensor.to_bytes())
            output.parameters = TensorParameters(binary_data_size=len(behind[-1]))
        else:
            output.data = tensor.to_list()
        answer.outputs.append(output)
    head = answer.model_dump_json(exclude_none=True).encode()
    if not behind:
        return Response(head, media_type="application/json")
    headers = {HEAD_LENGTH: str(len(head))}
    return Response(b"".join([head, *behind]), media_type=OCTETS, headers=headers)


def _probabilities(
    probabilities: NDArray[np.float32], labels: Sequence[str], parameters: OutputParameters
) -> Tensor:
    if parameters.classification is None:
        return Tensor("FP32", probabilities.shape, probabilities)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : parameters.classification]
    texts = [
        f"{float(row[index])}:{index}:{labels[index]}"
        for row, order in zip(probabilities, best, strict=True)
        for index in order
    ]
    return Tensor("BYTES", best.shape, texts)


def _label(probabilities: NDArray[np.float32], labels: Sequence[str], _: OutputParameters) -> Tensor:
    best = [labels[index] for index in probabilities.argmax(axis=1)]
    return Tensor("BYTES", (len(best),), best)


def _index(probabilities: NDArray[np.float32], _: Sequence[str], __: OutputParameters) -> Tensor:
    best = probabilities.argmax(axis=1).astype(np.int64)
    return Tensor("INT64", best.shape, best)


_OUTPUTS: dict[str, Callable[[NDArray[np.float32], Sequence[str], OutputParameters], Tensor]] = {
    "probabilities": _probabilities,
    "label": _label,
    "index": _index,
}
