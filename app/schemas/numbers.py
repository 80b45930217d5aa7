"""Numbers that clients send: each has a range, and none is a truth value."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationInfo, field_validator

MOST = 2**31 - 1
"""What an INTEGER of every database holds."""


class Numbers(BaseModel):
    """Base of what a client sends. Pydantic would read ``true`` as 1 and ``false`` as 0."""

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_values(cls, value: Any, info: ValidationInfo) -> Any:
        is_numeric = _is_numeric(cls.model_fields[info.field_name or ""].annotation)
        return refuse_truth_value(value) if is_numeric else value


def refuse_truth_value(value: Any) -> Any:
    """For numbers that are no field of their own, such as the values of a dictionary."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not {str(value).lower()}")
    return value


def _is_numeric(annotation: Any) -> bool:
    """Whether a field takes numbers, and a truth value could only be read as one."""
    if get_origin(annotation) is Annotated:
        return _is_numeric(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return any(_is_numeric(member) for member in get_args(annotation))
    return annotation in (int, float)
