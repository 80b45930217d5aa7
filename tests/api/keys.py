"""Keys of an API in this process."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

FIRST = {"authorization": "Bearer s3cret"}
"""Of a server with LOUPE_API_KEY=s3cret."""


def make_key(client: TestClient, *scopes: str, **fields: Any) -> dict[str, Any]:
    body = {"name": f"may {' and '.join(scopes)}", "scopes": scopes, **fields}
    answer = client.post("/api-keys", json=body, headers=FIRST)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def headers_of(key: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {key['key']}"}


def make_headers(client: TestClient, *scopes: str, **fields: Any) -> dict[str, str]:
    """The headers of a new key."""
    return headers_of(make_key(client, *scopes, **fields))
