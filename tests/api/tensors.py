"""Requests of the Open Inference Protocol as its specification writes them, byte by byte."""

from __future__ import annotations

import base64
import json
from struct import pack, unpack_from
from typing import Any

import numpy as np

LENGTH = "Inference-Header-Content-Length"
TYPES = {"FP32": "<f4", "INT64": "<i8"}


def as_json(*images: bytes, **more: Any) -> dict[str, Any]:
    """A request with image files in JSON."""
    data = [base64.b64encode(image).decode() for image in images]
    tensor = {"name": "image", "shape": [len(images)], "datatype": "BYTES", "data": data}
    return {"inputs": [tensor], **more}


def elements(*images: bytes) -> bytes:
    """A BYTES tensor."""
    return b"".join(pack("<I", len(image)) + image for image in images)


def binary(tensor: bytes, shape: list[int], name: str = "image", kind: str = "BYTES", **more: Any) -> Any:
    """The arguments of a client's request with a tensor behind the JSON."""
    one = {
        "name": name,
        "shape": shape,
        "datatype": kind,
        "parameters": {"binary_data_size": len(tensor)},
    }
    return framed({"inputs": [one], **more}, tensor)


def framed(head: dict[str, Any], tensor: bytes) -> Any:
    text = json.dumps(head).encode()
    headers = {LENGTH: str(len(text)), "Content-Type": "application/octet-stream"}
    return {"content": text + tensor, "headers": headers}


def read(answer: Any) -> dict[str, Any]:
    """The outputs of an answer by name, in whichever form they came."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get(LENGTH, len(answer.content)))
    rest = answer.content[length:]
    found: dict[str, Any] = {}
    for output in json.loads(answer.content[:length])["outputs"]:
        if "data" in output:
            values: Any = output["data"]
        else:
            size = output["parameters"]["binary_data_size"]
            values, rest = _values(rest[:size], output["datatype"]), rest[size:]
        if output["datatype"] != "BYTES":
            values = np.array(values, TYPES[output["datatype"]])
        found[output["name"]] = np.array(values).reshape(output["shape"])
    assert rest == b""
    return found


def _values(tensor: bytes, kind: str) -> Any:
    if kind != "BYTES":
        return np.frombuffer(tensor, TYPES[kind])
    texts = []
    while tensor:
        (length,) = unpack_from("<I", tensor)
        texts.append(tensor[4 : 4 + length].decode())
        tensor = tensor[4 + length :]
    return texts
