"""The Open Inference Protocol, version 2: what clients send and get, in the words of its specification."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.schemas.common import Request
from app.schemas.numbers import MOST, refuse_truth_value

MOST_MICROSECONDS = 3_600_000_000
MOST_CLASSES = 1000

Dimension = Annotated[int, Field(ge=0, le=MOST), BeforeValidator(refuse_truth_value)]
InputName = Literal["image", "pixels"]
Value = Annotated[Any, WithJsonSchema({"type": ["number", "string"]})]
OutputName = Literal["probabilities", "label", "index"]


class InputParameters(Request):
    """The binary tensor data extension, for an input."""

    binary_data_size: int | None = Field(
        None, ge=0, le=MOST, description="Bytes of this input behind the JSON, in place of `data`."
    )


class InferInput(Request):
    """One tensor: encoded images, or pixels that are the model's input already."""

    name: InputName = Field(
        description="`image`: image files, BYTES. `pixels`: images of the model's own size, UINT8 or FP32, "
        "RGB from 0 to 255."
    )
    shape: list[Dimension] = Field(
        min_length=1,
        max_length=4,
        description="Of `image`: [n] or [n, 1]. Of `pixels`: [n, height, width, 3].",
    )
    datatype: Literal["BYTES", "UINT8", "FP32"] = Field(description="BYTES for `image`, else UINT8 or FP32.")
    parameters: InputParameters = Field(default_factory=InputParameters)
    data: list[Any] | None = Field(
        None,
        description="Of `image`: each file as base64. Of `pixels`: the numbers, flat or nested as the shape.",
    )


class OutputParameters(Request):
    """The binary tensor data extension and the classification extension, for an output."""

    binary_data: bool | None = Field(None, description="Whether this output comes behind the JSON.")
    classification: int | None = Field(
        None,
        ge=1,
        le=MOST_CLASSES,
        description="Of `probabilities`: so many classes instead, each as `probability:index:label`.",
    )


class RequestedOutput(Request):
    """An output that the answer is to have."""

    name: OutputName
    parameters: OutputParameters = Field(default_factory=OutputParameters)


class InferParameters(Request):
    """What a request may ask for as a whole."""

    binary_data_output: bool = Field(
        False, description="Whether outputs that do not say otherwise come behind the JSON."
    )
    timeout: int | None = Field(
        None, ge=1, le=MOST_MICROSECONDS, description="Microseconds after which no answer is wanted any more."
    )

    @property
    def seconds(self) -> float | None:
        return None if self.timeout is None else self.timeout / 1e6


class InferRequest(Request):
    """An inference request, or the JSON at the beginning of one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["<base64>"]}]}
            ]
        }
    )

    id: str | None = Field(None, max_length=1024, description="The answer has it too.")
    parameters: InferParameters = Field(default_factory=InferParameters)
    inputs: list[InferInput] = Field(min_length=1, max_length=1, description="One of `image` and `pixels`.")
    outputs: list[RequestedOutput] = Field(
        default_factory=list, max_length=3, description="What the answer is to have; all three unless given."
    )


class TensorParameters(BaseModel):
    binary_data_size: int = Field(description="Bytes of this output behind the JSON.")


class InferOutput(BaseModel):
    """One output. ``data``: its values in row-major order, unless they are behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    parameters: TensorParameters | None = None
    data: list[Value] | None = None


class InferResponse(BaseModel):
    """The answer to an inference request, or the JSON at the beginning of one."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[InferOutput]


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int] = Field(description="-1: of any length.")


class ModelMetadata(BaseModel):
    """What a model takes, either of its inputs, and what it gives."""

    name: str
    versions: list[str] = Field(description="The version that answers.")
    platform: str = Field(description="What runs the model.")
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    name: str
    ready: bool


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class ServerReady(BaseModel):
    """The specification's table calls both answers `live`; its clients look for `ready` as well."""

    live: bool
    ready: bool


class ServerLive(BaseModel):
    live: bool
