"""Answers to every request of the API, made from its document: full of names that few encodings hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cli.conftest import Answer, Received, as_json, as_problem

NAME = "Schräg · 日本 …"
TIME = "2026-01-02T03:04:05.678Z"
_ESTIMATE = {"value": 0.5, "low": 0.4, "high": 0.6}
UNTYPED = {
    "metrics": {
        **dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), _ESTIMATE),
        "top_k": {"k": 5, "value": 0.9},
    }
}
_DOCUMENT = json.loads((Path(__file__).parents[2] / "docs/openapi.json").read_text(encoding="utf-8"))


def answer_everything(request: Received) -> Answer:
    """A full answer of the form that the API's document gives; every time in it is ``TIME``."""
    path = urlsplit(request.path).path
    for pattern, operations in _DOCUMENT["paths"].items():
        operation = operations.get(request.method.lower())
        if operation and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            content: dict[str, Any] = next(
                (
                    answer.get("content", {})
                    for status, answer in operation["responses"].items()
                    if status.startswith("2")
                ),
                {},
            )
            if "/logs/" in path or "text/csv" in request.headers.get("accept", ""):
                return 200, "text/plain; charset=utf-8", f"{NAME}\n".encode()
            return as_json(_fill(content.get("application/json", {}).get("schema", {})))
    return as_problem(404, "not_found", f"There is no {NAME}.")


def _fill(schema: dict[str, Any], name: str = "") -> Any:
    if "$ref" in schema:
        return _fill(_DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]], name)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            # The fullest form: null is the last of its alternatives.
            return _fill(schema[several][0], name)
    if name in ("has_more", "next_cursor", "error"):
        return {"has_more": False}.get(name)
    if name in UNTYPED and "properties" not in schema:
        return UNTYPED[name]
    if "const" in schema or "enum" in schema:
        values = schema.get("enum") or [schema["const"]]
        return "succeeded" if "succeeded" in values else values[0]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        if "properties" in schema:
            return {key: _fill(value, key) for key, value in schema["properties"].items()}
        more = schema.get("additionalProperties")
        return {NAME: _fill(more, name) if isinstance(more, dict) else 1}
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        return [_fill(item, name) for item in items]
    if kind == "string":
        return TIME if schema.get("format") == "date-time" else NAME
    return {"integer": 1, "number": 0.5, "boolean": True}.get(str(kind), NAME)
