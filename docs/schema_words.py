"""What a JSON schema says, in words of a table: types, ranges, defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]
PAGE_OF = {"Hyperparameters": "training-settings.md", "EarlyStopping": "training-settings.md"}
"""Schemas that another page explains."""

_NO_LIMIT = 2_147_483_647
"""The largest number that the API takes anywhere: no limit that a reader looks for."""

_ANY_ID = re.compile(r"\[0-9a-z\]\+")


def name_of(reference: str) -> str:
    """Of ``…/app__schemas__common__Estimate``: ``Estimate``, with what tells it from others."""
    name = reference.rpartition("/")[2]
    if name.startswith("app__"):
        *_, module, name = name.split("__")
        return name if module == "common" else f"{name} ({module})"
    return name.strip("_").replace("Page_", "Page of ")


def slug(heading: str) -> str:
    """The anchor of a heading, as Markdown's readers make it."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def link(reference: str) -> str:
    name = name_of(reference)
    return f"[{name}]({PAGE_OF.get(name, '')}#{slug(name)})"


def type_words(schema: Schema) -> str:
    """Such as ``integer, 1 to 4,096``, or ``one of `a`, `b`, or null``."""
    if "$ref" in schema:
        return link(schema["$ref"])
    if "allOf" in schema:
        return " and ".join(type_words(each) for each in schema["allOf"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(type_words(each) for each in schema[key]))
    if "const" in schema:
        return f"`{_plain(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{_plain(value)}`" for value in schema["enum"])
    return _BY_TYPE.get(str(schema.get("type")), _anything)(schema)


def range_words(schema: Schema) -> str:
    """Of a number: ``1 to 4,096``, ``more than 0, at most 10``; empty without limits."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None and high >= _NO_LIMIT:
        high = None
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{number(low)} to {number(high)}"
    words = [
        f"{word} {number(value)}"
        for word, value in (("at least", low), ("more than", above), ("at most", high), ("less than", below))
        if value is not None
    ]
    return ", ".join(words)


def number(value: float) -> str:
    """Without the ``.0`` of a whole number, and with commas from ten thousand."""
    whole = int(value) if float(value).is_integer() else value
    if isinstance(whole, int):
        return f"{whole:,}" if abs(whole) >= 10_000 else f"{whole}"
    return f"{whole:.10f}".rstrip("0")


def cell(text: str) -> str:
    """A text as one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _plain(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _numeric(schema: Schema) -> str:
    kind = "integer" if schema["type"] == "integer" else "number"
    return ", ".join(part for part in (kind, range_words(schema)) if part)


def _string(schema: Schema) -> str:
    parts = ["time" if schema.get("format") == "date-time" else "file" if _is_file(schema) else "string"]
    if "minLength" in schema and schema["minLength"] > 1:
        parts.append(f"at least {schema['minLength']} characters")
    if "maxLength" in schema:
        parts.append(f"at most {schema['maxLength']:,} characters")
    if choices := re.fullmatch(r"\^\(([^()]+)\)\$", schema.get("pattern", "")):
        return ", ".join(f"`{_ANY_ID.sub('…', choice)}`" for choice in choices[1].split("|"))
    if "pattern" in schema:
        parts.append(f"`{schema['pattern']}`")
    return ", ".join(parts)


def _is_file(schema: Schema) -> bool:
    return schema.get("format") == "binary" or "contentMediaType" in schema


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        return "[" + ", ".join(type_words(each) for each in schema["prefixItems"]) + "]"
    words = f"list of {type_words(schema.get('items', {}))}"
    most, least = schema.get("maxItems"), schema.get("minItems")
    limits = (("exactly", most),) if most == least else (("at least", least), ("at most", most))
    counts = [f"{word} {number(limit)}" for word, limit in limits if limit]
    return f"{words} ({', '.join(counts)})" if counts else words


def _object(schema: Schema) -> str:
    values = schema.get("additionalProperties")
    return f"object: name → {type_words(values)}" if isinstance(values, Mapping) and values else "object"


def _anything(_: Schema) -> str:
    return "any"


_BY_TYPE: dict[str, Callable[[Schema], str]] = {
    "string": _string,
    "integer": _numeric,
    "number": _numeric,
    "boolean": lambda _: "true or false",
    "array": _array,
    "object": _object,
    "null": lambda _: "null",
}


def default_words(schema: Schema, *, is_required: bool) -> str:
    """The default as it would be written in JSON, ``required``, or a dash."""
    if is_required:
        return "required"
    if schema.get("default") in (None, ""):
        return "–"
    value = schema["default"]
    return f"`{number(value) if isinstance(value, float) else _plain(value)}`"
