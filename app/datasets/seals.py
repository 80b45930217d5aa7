"""JSON files with the SHA-256 of their content in them, so that one that was altered is not believed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from app.errors import InvalidRequestError
from app.host.files import write_json
from app.schemas.message import Message, parse_message

_SEAL = "sha256"
Content = TypeVar("Content", bound=Message)


def write_sealed(path: Path, content: Message) -> None:
    """Raises OSError."""
    values = content.model_dump(mode="json")
    write_json(path, {**values, _SEAL: _digest(values)})


def read_sealed(kind: type[Content], path: Path) -> Content | None:
    """None if there is no such file, or one that is damaged or altered.

    Files of earlier versions have no seal: they are believed if they can be read.
    """
    try:
        raw = path.read_bytes()
        content = parse_message(kind, raw, path.name)
        values = json.loads(raw)
    except (FileNotFoundError, InvalidRequestError):
        return None
    seal = values.pop(_SEAL, None)
    return content if seal in (None, _digest(values)) else None


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
