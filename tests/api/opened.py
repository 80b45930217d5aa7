"""An API of its own settings in this process, on a fresh SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from fastapi.testclient import TestClient

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.main import create_app

LOOPBACK = "http://127.0.0.1"
"""Without a key the API answers loopback names alone; a TestClient calls itself ``testserver``."""


@contextmanager
def opened(settings: Settings, **options: Any) -> Iterator[TestClient]:
    with closing(AppContext.open(settings)) as context:
        migrations.upgrade(context.db)
        with TestClient(create_app(settings), raise_server_exceptions=False, **options) as client:
            yield client
