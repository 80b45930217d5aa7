"""The operations of the published document, for tests that walk all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from app.config import Settings
from app.main import create_app


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    parameters: tuple[dict[str, Any], ...]
    content: dict[str, Any]
    """What the body may be, by media type; empty where there is no body."""
    security: tuple[dict[str, list[str]], ...]
    """The ways to show a key, each with the scope that is needed; empty where none is asked for."""

    @property
    def url(self) -> str:
        return self.url_with("x")

    def url_with(self, value: str) -> str:
        return re.sub(r"\{\w+\}", value, self.path)

    @property
    def queries(self) -> list[str]:
        return [one["name"] for one in self.parameters if one["in"] == "query"]

    @property
    def lists(self) -> list[str]:
        """The queries that may be given several times."""
        return [one["name"] for one in self.parameters if resolve(one["schema"]).get("type") == "array"]

    def fields(self, media_type: str) -> list[str]:
        return sorted(resolve(self.content[media_type]["schema"])["properties"])

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


_DOCUMENT = create_app(Settings(_env_file=None)).openapi()


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    for one in (schema, *schema.get("anyOf", ())):
        if "$ref" in one:
            return dict(_DOCUMENT["components"]["schemas"][one["$ref"].rpartition("/")[2]])
    return schema


OPERATIONS = [
    Operation(
        method.upper(),
        path,
        tuple(operation.get("parameters", ())),
        operation.get("requestBody", {}).get("content", {}),
        tuple(operation["security"]),
    )
    for path, operations in _DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
GUARDED = [operation for operation in OPERATIONS if operation.security]
WITH_BODY = [operation for operation in OPERATIONS if operation.content]
