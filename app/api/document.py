"""The published document of the API: FastAPI's, with the ways to show a key."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.api.routes import SECURITY_SCHEMES


class DocumentedAPI(FastAPI):
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        return document


def inline_schema(shape: type[BaseModel]) -> dict[str, Any]:
    """Of a body that a route reads by hand: it stands outside of the document's components."""
    schema = shape.model_json_schema()
    parts = schema.pop("$defs", {})

    def inline(value: Any) -> Any:
        if isinstance(value, list):
            return [inline(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        own = {key: inline(entry) for key, entry in value.items() if key != "$ref"}
        reference = value.get("$ref")
        return own if reference is None else {**inline(parts[reference.rpartition("/")[2]]), **own}

    inlined: dict[str, Any] = inline(schema)
    return inlined
