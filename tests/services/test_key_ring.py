"""What a process writes of the keys that it has seen."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from sqlalchemy import select, text

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.models import ApiKey
from app.schemas.caller import Caller
from app.services.key_ring import KeyRing
from tests import postgres_server
from tests.waiting import wait_for

WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


@pytest.mark.postgres
def test_processes_take_the_keys_in_one_order_whichever_way_they_lie(
    postgres: str, settings: Settings
) -> None:
    url = postgres_server.create_database(postgres)
    names = ["key_2", "key_1"]  # as they lie in the table, and as an update alone would lock them
    with closing(AppContext.open(settings.model_copy(update={"database_url": url}))) as context:
        migrations.upgrade(context.db)
        for name in names:
            with context.db.write() as session:
                session.add(ApiKey(id=name, name=name, prefix=name, secret_sha256="00", scopes=["read"]))
        ring = KeyRing(context)
        for name in names:
            ring.note_use(Caller(name, name, frozenset()))
        first, second = (select(ApiKey.id).where(ApiKey.id == f"key_{number}") for number in (1, 2))
        writing = threading.Thread(target=ring.write_uses)
        with context.db.write() as session:
            session.scalars(first.with_for_update()).one()
            writing.start()
            wait_for(lambda: session.scalar(WAITING) == 1, 30, "the other to wait for the first key")
            assert session.scalars(second.with_for_update(nowait=True)).one() == "key_2"
        writing.join()
        with context.db.read() as session:
            assert None not in session.scalars(select(ApiKey.last_used_at)).all()
