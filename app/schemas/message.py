"""What crosses from one process to another: typed values, written as JSON files."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from app.errors import InvalidRequestError

T = TypeVar("T")


class Message(BaseModel):
    """Base of the specs and results. A reader ignores keys that it does not know, from a newer version, and
    refuses a message that lacks what it needs: it never guesses. Numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def parse_message(kind: type[T], data: bytes, name: str) -> T:
    """Raises InvalidRequestError that names the file ``name`` and its first wrong field."""
    try:
        return TypeAdapter(kind).validate_json(data)
    except ValidationError as error:
        raise InvalidRequestError(explain_invalid(name, error)) from None


def explain_invalid(name: str, error: ValidationError) -> str:
    """What is wrong with the file ``name``, by its first wrong field."""
    first = error.errors()[0]
    where = "/".join(str(part) for part in first["loc"]) or "the whole text"
    return f"{name} is not valid at {where}: {first['msg']}"


def dump_message(message: Any) -> bytes:
    """JSON of a Message or of a dataclass that crosses like one."""
    return TypeAdapter(type(message)).dump_json(message)
