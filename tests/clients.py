"""The API of an application in this process."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from app.config import Settings
from app.main import create_app

LOOPBACK = "http://127.0.0.1"
"""Without a key the API answers loopback names alone; a TestClient would call itself ``testserver``."""


def local_client(settings: Settings, **options: Any) -> TestClient:
    """A client on this machine; it opens the application in its ``with`` block."""
    return TestClient(create_app(settings), **{"base_url": LOOPBACK, **options})
