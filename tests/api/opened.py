"""An API of its own settings in this process, on a fresh SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from fastapi.testclient import TestClient

from app import migrations
from app.config import Settings
from app.context import AppContext
from tests.clients import local_client


@contextmanager
def opened(settings: Settings, **options: Any) -> Iterator[TestClient]:
    with closing(AppContext.open(settings)) as context:
        migrations.upgrade(context.db)
        with local_client(settings, raise_server_exceptions=False, **options) as client:
            yield client
