"""Reading the Open Inference Protocol's requests: JSON, or JSON with a tensor behind it.

Every size that a request states is compared with what it holds before anything is made of it.
"""

from __future__ import annotations

import math
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
from pydantic import ValidationError

from app.api.base64_pictures import NotBase64Error, decode_base64
from app.api.invalid_requests import invalid_body
from app.api.prediction_routes import HEAD_LENGTH
from app.api.text import check_json
from app.errors import FieldError, InvalidRequestError, LoupeError, TooLargeError
from app.schemas.inference_protocol import InferInput, InferRequest
from app.services.predictions import Pixels

_DATATYPES = {"image": ("BYTES",), "pixels": ("UINT8", "FP32")}
_TYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4")}
_PIXEL_DIMENSIONS = 4
_LENGTH = Struct("<I")
_MOST_VALUE = 255
_BASE64_HINT = "In JSON a file is base64. Clients that send binary tensors need not encode it."


@dataclass(frozen=True)
class Limits:
    """Of one request: images, and bytes of JSON before a binary tensor."""

    images: int
    head_bytes: int


@dataclass(frozen=True)
class Tensors:
    """A request that was read. ``images``: encoded ones, or pixels of one size, (height, width, 3)."""

    asked: InferRequest
    images: Sequence[bytes | memoryview] | Sequence[Pixels]


def read_tensors(body: bytes, head_length: int | None, limits: Limits) -> Tensors:
    """``head_length``: how much of the body is JSON; None: all. Raises LoupeError."""
    head, rest = _cut(body, head_length, limits.head_bytes)
    check_json(head)
    try:
        asked = InferRequest.model_validate_json(head.removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise invalid_body(error, InferRequest) from error
    names = [output.name for output in asked.outputs]
    for index, output in enumerate(asked.outputs):
        if output.name in names[:index]:
            raise _invalid(f"outputs/{index}/name", f"{output.name!r} is asked for twice")
        if output.parameters.classification is not None and output.name != "probabilities":
            raise _invalid(
                f"outputs/{index}/parameters/classification", "only `probabilities` can be given as classes"
            )
    (tensor,) = asked.inputs
    count = _count_images(tensor, limits.images)
    _check_place(tensor, len(rest))
    if tensor.name == "pixels":
        return Tensors(asked, list(_read_pixels(tensor, rest)))
    if tensor.data is None:
        return Tensors(asked, _split(rest, count))
    return Tensors(asked, _decode(_flatten(tensor.data, tensor.shape)))


def _cut(body: bytes, head_length: int | None, most: int) -> tuple[bytes, memoryview]:
    """The JSON, and what is behind it."""
    if head_length is None:
        return body, memoryview(b"")
    if head_length > len(body):
        message = f"{head_length:,} bytes, and the whole body has {len(body):,}"
        raise InvalidRequestError(
            f"{HEAD_LENGTH} is {message}.",
            hint="It is the number of bytes of JSON at the beginning of the body.",
            errors=(FieldError(HEAD_LENGTH, message),),
        )
    if head_length > most:
        raise TooLargeError(
            f"The JSON before the tensor has {head_length:,} bytes; it may have {most:,}.",
            hint="Send the images behind the JSON, in binary, or raise LOUPE_MAX_JSON_BYTES on the server.",
        )
    return body[:head_length], memoryview(body)[head_length:]


def _count_images(tensor: InferInput, most: int) -> int:
    """How many images there are, by a shape and a datatype that belong to the name."""
    if tensor.datatype not in _DATATYPES[tensor.name]:
        kinds = " or ".join(_DATATYPES[tensor.name])
        raise _invalid("inputs/0/datatype", f"{tensor.name!r} is {kinds}, got {tensor.datatype}")
    count, *rest = tensor.shape
    if tensor.name == "image" and rest not in ([], [1]):
        raise _invalid("inputs/0/shape", f"'image' has the shape [n] or [n, 1], got {tensor.shape}")
    if tensor.name == "pixels" and (len(tensor.shape) != _PIXEL_DIMENSIONS or rest[-1] != 3 or 0 in rest):
        raise _invalid("inputs/0/shape", f"'pixels' has the shape [n, height, width, 3], got {tensor.shape}")
    if count == 0:
        raise _invalid("inputs/0/shape", "there is no image")
    if count > most:
        raise TooLargeError(
            f"{count:,} images are more than the {most:,} that one request may hold.",
            hint="Send several requests.",
        )
    return count


def _check_place(tensor: InferInput, behind: int) -> None:
    """Raises unless the tensor is in the JSON or behind it, and then all that is there."""
    size = tensor.parameters.binary_data_size
    if (size is None) == (tensor.data is None):
        raise _invalid("inputs/0", "needs either `data` or `parameters.binary_data_size`")
    if behind != (size or 0):
        raise _invalid(
            "inputs/0/parameters/binary_data_size",
            f"{size or 0:,} bytes belong to the input, and {behind:,} are behind the JSON",
            hint=f"{HEAD_LENGTH} tells where the JSON ends; all that follows is the input.",
        )


def _read_pixels(tensor: InferInput, rest: memoryview) -> Pixels:
    dtype, wanted = _TYPES[tensor.datatype], math.prod(tensor.shape)
    if tensor.data is not None:
        values = _flatten(tensor.data, tensor.shape)
        _check_values(values, tensor.datatype)
        return np.array(values, dtype).reshape(tensor.shape)
    if len(rest) != wanted * dtype.itemsize:
        raise _invalid(
            "inputs/0/shape",
            f"{tensor.shape} of {tensor.datatype} are {wanted * dtype.itemsize:,} bytes, got {len(rest):,}",
        )
    pixels: Pixels = np.frombuffer(rest, dtype).reshape(tensor.shape)
    # Written so that NaN fails it too.
    if tensor.datatype == "FP32" and not (pixels.min() >= 0 and pixels.max() <= _MOST_VALUE):
        raise _out_of_range(tensor.datatype)
    return pixels


def _check_values(values: list[Any], datatype: str) -> None:
    kinds = (int,) if datatype == "UINT8" else (int, float)
    for value in values:
        if type(value) not in kinds or not 0 <= value <= _MOST_VALUE:
            raise _out_of_range(datatype)


def _flatten(data: list[Any], shape: Sequence[int]) -> list[Any]:
    """The values in row-major order: they come flat, or as nested as the shape or a part of it."""
    if not any(isinstance(entry, list) for entry in data):
        if len(data) != math.prod(shape):
            raise _wrong_shape(shape)
        return data
    if len(data) != shape[0] or len(shape) == 1:
        raise _wrong_shape(shape)
    found: list[Any] = []
    for entry in data:
        if not isinstance(entry, list):
            raise _wrong_shape(shape)
        found += _flatten(entry, shape[1:])
    return found


def _decode(texts: list[Any]) -> list[bytes]:
    images = []
    for index, text in enumerate(texts):
        where = f"inputs/0/data/{index}"
        if not isinstance(text, str):
            raise _invalid(where, "not a text", hint=_BASE64_HINT)
        try:
            images.append(decode_base64(text))
        except NotBase64Error as error:
            raise _invalid(where, f"not base64: {error}", hint=_BASE64_HINT) from error
    return images


def _split(rest: memoryview, count: int) -> list[memoryview]:
    """The elements of a BYTES tensor: each has its length before it, in four bytes."""
    found, start = [], 0
    for index in range(count):
        if start + _LENGTH.size > len(rest):
            raise _invalid("inputs/0", f"the bytes end before element {index} of {count}")
        (length,) = _LENGTH.unpack_from(rest, start)
        start += _LENGTH.size
        if length > len(rest) - start:
            raise _invalid(
                "inputs/0", f"element {index} has {length:,} bytes, and {len(rest) - start:,} are left"
            )
        found.append(rest[start : start + length])
        start += length
    if start != len(rest):
        raise _invalid("inputs/0", f"{len(rest) - start:,} bytes are behind the last of {count} elements")
    return found


def _out_of_range(datatype: str) -> LoupeError:
    kind = "whole numbers" if datatype == "UINT8" else "numbers"
    return _invalid("inputs/0/data", f"pixels of {datatype} are {kind} from 0 to {_MOST_VALUE}")


def _wrong_shape(shape: Sequence[int]) -> LoupeError:
    return _invalid("inputs/0/data", f"the values do not make the shape {list(shape)}")


def _invalid(where: str, message: str, hint: str | None = None) -> InvalidRequestError:
    return InvalidRequestError(
        f"/{where}: {message}.",
        hint=hint or "`GET /v2/models/<name>` shows what the model takes.",
        errors=(FieldError(f"/{where}", message),),
    )
