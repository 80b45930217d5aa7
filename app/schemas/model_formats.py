"""The forms in which a model leaves: what each file is called, what reads it, who makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

FormatName = Literal["zip", "keras", "tflite", "saved_model", "onnx"]
MadeFormat = Literal["saved_model", "onnx"]
"""Those that a worker makes, once somebody asks for one."""


@dataclass(frozen=True)
class ModelFormat:
    """``suffix``: of the file's name, without its dot. ``runs_with``: for people."""

    name: FormatName
    suffix: str
    media_type: str
    runs_with: str

    @property
    def is_made(self) -> bool:
        """Whether a worker has to make it first."""
        return self.name in get_args(MadeFormat)

    def file_name(self, product: str, version: int) -> str:
        """What the file is called where it is saved."""
        return f"{product}-{version}.{self.suffix}"


_BYTES, _ZIP = "application/octet-stream", "application/zip"
_ALL = (
    ModelFormat("zip", "zip", _ZIP, "another Loupe: the whole artifact"),
    ModelFormat("keras", "keras", _BYTES, "Keras 3"),
    ModelFormat("tflite", "tflite", _BYTES, "LiteRT, TensorFlow Lite"),
    ModelFormat("saved_model", "saved_model.zip", _ZIP, "TensorFlow, TensorFlow Serving"),
    ModelFormat("onnx", "onnx", _BYTES, "ONNX Runtime and others"),
)
MODEL_FORMATS: dict[str, ModelFormat] = {one.name: one for one in _ALL}
