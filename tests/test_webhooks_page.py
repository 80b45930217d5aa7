"""The page about webhooks: its table, and its receiver, which takes a real delivery."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from app.config import Settings
from app.context import AppContext
from app.host.outgoing import Reach
from app.jobs import webhook_deliveries
from app.jobs.webhook_deliveries import CLAIM_SECONDS, KEPT, SCHEDULE_SECONDS
from app.schemas.webhook_events import EVENT_KINDS
from app.services.webhook_messages import ANSWER_SECONDS, OLD_SECRET_HOURS, Message, new_secret, send
from app.workers.webhook_thread import MOST_AT_ONCE
from docs.generate import ROOT
from tests.ports import free_port
from tests.services.webhook_rows import add_webhook, deliveries, happen, read_webhook
from tests.waiting import wait_for

PAGE = (ROOT / "docs/webhooks.md").read_text(encoding="utf-8")


def test_its_table_is_the_list_of_events() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(name, kind.says) for name, kind in EVENT_KINDS.items()]


def test_its_numbers_are_those_of_the_code() -> None:
    assert SCHEDULE_SECONDS[:3] == (5, 300, 1800)
    hours = [seconds // 3600 for seconds in SCHEDULE_SECONDS[3:]]
    assert f"{', '.join(map(str, hours[:-1]))} and {hours[-1]} hours" in PAGE
    assert f"nothing within {ANSWER_SECONDS:.0f} seconds" in PAGE
    assert f"follows after {CLAIM_SECONDS:.0f} seconds" in PAGE
    assert f"the last {KEPT.days} days" in PAGE
    assert f"For {OLD_SECRET_HOURS} hours" in PAGE
    assert {8: "eight"}[MOST_AT_ONCE] in PAGE


@contextmanager
def receiver_of_the_page(folder: Path, secret: str) -> Iterator[tuple[str, Path]]:
    """Its URL, and where it prints."""
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    port = free_port()
    program = folder / "receiver.py"
    program.write_text(found[1].replace("9000", str(port)), encoding="utf-8")
    printed = folder / "printed"
    with printed.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, program], stdout=out, stderr=out, env={**os.environ, "SECRET": secret}
        )
        url = f"http://127.0.0.1:{port}/"

        def listens() -> bool:
            try:
                return httpx.get(url).status_code == 501
            except httpx.TransportError:
                return False

        try:
            wait_for(listens, 20, "the receiver", alive=lambda: process.poll() is None)
            yield url, printed
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_hosts": ("127.0.0.1",)})


def test_its_receiver_takes_a_real_delivery_and_nothing_that_another_signed(
    context: AppContext, tmp_path: Path
) -> None:
    webhook = add_webhook(context, "http://127.0.0.1:9/")
    secret = read_webhook(context, webhook).secret
    with receiver_of_the_page(tmp_path, secret) as (url, printed):
        with context.db.write() as session:
            session.get_one(type(read_webhook(context, webhook)), webhook).url = url
        happen(context)
        [claim] = webhook_deliveries.claim_due(context, busy=(), limit=1)
        webhook_deliveries.deliver(context, claim)
        [delivery] = deliveries(context)
        assert (delivery.status, delivery.status_code) == ("delivered", 204)
        assert f"{delivery.event_id} disk.low" in printed.read_text()
        forged = send(url, (new_secret(),), Message("evt_2", {}), Reach(("127.0.0.1",)))
        assert forged.status_code == 401
        assert httpx.post(url, content=b"{}").status_code == 401
