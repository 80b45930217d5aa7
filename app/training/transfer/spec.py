"""What the child for models is asked to do, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, RootModel

from app.schemas.message import Message
from app.schemas.model_formats import MadeFormat
from app.training.result import Parity


class ConversionSpec(Message):
    """``artifact``: the model's folder, of that ``artifact_digest``. ``out``: a folder for the one file."""

    format_version: Literal[1] = 1
    kind: Literal["conversion"] = "conversion"
    artifact: Path
    artifact_digest: str
    format: MadeFormat
    out: Path


class ConversionResult(Message):
    """``file``: its name in ``out``. ``parity``: how far it answers from the served model."""

    out: Path
    file: str
    bytes: int
    sha256: str
    parity: Parity
    versions: dict[str, str]


class ModelImportSpec(Message):
    """``source``: a zip of another Loupe's artifact. ``out``: the folder of the artifact that it becomes."""

    format_version: Literal[1] = 1
    kind: Literal["model_import"] = "model_import"
    source: Path
    out: Path


class ModelImportResult(Message):
    """``parity``: how far the answers are from those where the model comes from."""

    artifact: Path
    parity: Parity


class TransferWork(RootModel[Annotated[ConversionSpec | ModelImportSpec, Field(discriminator="kind")]]):
    """What ``python -m app.training.transfer`` finds in its ``spec.json``."""
