"""The forms in which a model leaves: what each file is called and what reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FormatName = Literal["zip", "keras", "tflite"]


@dataclass(frozen=True)
class ModelFormat:
    """``suffix``: of the file's name, without its dot. ``runs_with``: for people."""

    name: FormatName
    suffix: str
    media_type: str
    runs_with: str

    def file_name(self, product: str, version: int) -> str:
        """What the file is called where it is saved."""
        return f"{product}-{version}.{self.suffix}"


_BYTES, _ZIP = "application/octet-stream", "application/zip"
_ALL = (
    ModelFormat("zip", "zip", _ZIP, "another Loupe: the whole artifact"),
    ModelFormat("keras", "keras", _BYTES, "Keras 3"),
    ModelFormat("tflite", "tflite", _BYTES, "LiteRT, TensorFlow Lite"),
)
MODEL_FORMATS: dict[str, ModelFormat] = {one.name: one for one in _ALL}
