"""What pydantic finds wrong with a request, in the words of whoever sent it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from app.api.nearest import no_such
from app.errors import FieldError, InvalidRequestError

SEE_DOCS = "`GET /docs` shows what this route takes."

_MOST_ERRORS = 20
"""Errors that an answer lists; looking for near names costs much for each."""
_MOST_NAME = 200
Location = tuple[int | str, ...]


def invalid_body(error: ValidationError, shape: type[BaseModel], hint: str = SEE_DOCS) -> InvalidRequestError:
    """The answer to a body that a route validated by hand as ``shape``."""
    return invalid_request([{**item, "loc": ("body", *item["loc"])} for item in error.errors()], shape, hint)


def invalid_request(
    items: Sequence[Mapping[str, Any]], shape: Any, hint: str = SEE_DOCS
) -> InvalidRequestError:
    """The answer to pydantic's errors; ``shape`` is the type of the route's body, None where it has none."""
    # First what does not exist: what is missing is often only called otherwise.
    items = sorted(items, key=lambda item: item["type"] != "extra_forbidden")
    missing = [item["loc"] for item in items if item["type"] == "missing"][:_MOST_ERRORS]
    errors = tuple(
        FieldError(_pointer(item), _message(item, shape, missing)) for item in items[:_MOST_ERRORS]
    )
    more = f" (and {len(items) - 1} more)" if len(items) > 1 else ""
    return InvalidRequestError(f"{errors[0].pointer}: {errors[0].message}{more}", hint=hint, errors=errors)


def _pointer(item: Mapping[str, Any]) -> str:
    """A JSON pointer for the body, a plain name for parameters."""
    where, *rest = item["loc"]
    if item["type"] == "json_invalid":
        return "/"
    # Pydantic names the member of a union or the validator that it tried; neither is part of the document.
    path = [
        str(part)
        for part in rest
        if not str(part).startswith(("function-", "tuple[", "constrained-", "dict[", "literal["))
    ]
    path = [part[:_MOST_NAME] for part in path]
    return "/" + "/".join(path) if where == "body" else ".".join(path) or str(where)


def _message(item: Mapping[str, Any], shape: Any, missing: Sequence[Location]) -> str:
    if item["type"] == "extra_forbidden":
        place, name = item["loc"][:-1], item["loc"][-1]
        needed = [str(other[-1]) for other in missing if other[:-1] == place]
        return no_such("field", str(name)[:_MOST_NAME], _fields_at(shape, place[1:]), needed)
    if item["type"] == "json_invalid" and "error" in item.get("ctx", {}):
        at = f" at character {item['loc'][-1]}" if isinstance(item["loc"][-1], int) else ""
        return f"not JSON: {item['ctx']['error']}{at}"
    return str(item["msg"]).removeprefix("Value error, ")


def _fields_at(shape: Any, path: Location) -> set[str]:
    """The fields that exist at a place of a body of this shape."""
    shapes = [shape]
    for part in path:
        shapes = [inner for one in shapes for inner in _step(one, part)]
    return {
        field
        for one in shapes
        for member in _members(one)
        if isinstance(member, type) and issubclass(member, BaseModel)
        for field in member.model_fields
    }


def _step(shape: Any, part: int | str) -> Iterator[Any]:
    for member in _members(shape):
        origin, arguments = get_origin(member), get_args(member)
        if isinstance(member, type) and issubclass(member, BaseModel):
            field = member.model_fields.get(str(part))
            # Anything else is the name of a union's member or of a validator, and no step.
            yield member if field is None else field.annotation
        elif origin is dict or (origin in (list, tuple) and isinstance(part, int)):
            yield arguments[-1]


def _members(shape: Any) -> Iterator[Any]:
    if get_origin(shape) in (Union, UnionType):
        for member in get_args(shape):
            yield from _members(member)
    elif get_origin(shape) is Annotated:
        yield from _members(get_args(shape)[0])
    else:
        yield shape
