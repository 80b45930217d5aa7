"""What is recorded of a request: in the transaction that changes something, or afterwards where none did.

Refusals are bounded: whoever tries a thousand keys gets a few rows a minute, the last of them with a count.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event, insert, update
from sqlalchemy.orm import ORMExecuteState, Session

from app.config import Settings
from app.db import Database
from app.errors import LoupeError
from app.host.addresses import site_of
from app.logs import hiding
from app.models import AuditRecord
from app.models.base import new_id, utc_now
from app.models.product_limits import product_of
from app.schemas.caller import Caller

# Its name is part of what log collectors filter by.
logger = logging.getLogger("app.audit")

MOST_THINGS = 20
MOST_LETTERS = 128
WINDOW_SECONDS = 60.0
MOST_OF_STRANGERS = 5
"""Records a minute of what one client tried without a known key; the rest of the minute is one more."""
MOST_OF_CALLERS = 120
"""The same of one key at one client's."""
MOST_WINDOWS = 1000
MOST_PENDING = 10_000

Values = dict[str, Any]


@dataclass(eq=False)
class Attempt:
    """One request that does, or tries, something. ``expected``: the status that it has if it is done."""

    action: str
    address: str | None
    request_id: str | None
    hide: Callable[[str], str]
    """Takes out of a text what nobody may read."""
    named: tuple[str, ...] = ()
    """What the path names."""
    product: str | None = None
    expected: int = 200
    caller: Caller | None = None
    by_session: bool = False
    record: Values | None = None
    """What was committed with the change."""

    def note_caller(self, caller: Caller) -> None:
        self.caller = caller

    def watch(self, session: Session) -> None:
        """Adds the record to the transaction of ``session``, once it changes something."""
        seen = _Seen()

        def note_rows(session: Session, *_: object) -> None:
            changed = [row for row in session.dirty if session.is_modified(row)]
            seen.note(session.new, (*changed, *session.deleted))

        def note_statement(state: ORMExecuteState) -> None:
            if state.is_insert or state.is_update or state.is_delete:
                seen.has_changed = True

        def add(session: Session) -> None:
            session.flush()
            if seen.has_changed and self.record is None:
                seen.record = self.describe("done", self.expected, seen.created, seen.product)
                session.add(AuditRecord(**seen.record))

        def remember(_: Session) -> None:
            if seen.record is not None:
                self.record = seen.record

        event.listen(session, "after_flush", note_rows)
        event.listen(session, "do_orm_execute", note_statement)
        event.listen(session, "before_commit", add)
        event.listen(session, "after_commit", remember)

    def describe(
        self, outcome: str, status: int, created: Iterable[str] = (), product: str | None = None
    ) -> Values:
        """The columns of its record."""
        caller = self.caller
        return {
            "id": new_id("aud"),
            "created_at": utc_now(),
            "key_id": caller.key_id if caller else None,
            "caller": caller.name if caller else None,
            "by_session": self.by_session,
            "action": self.action[:200],
            "product_id": self.hide(self.product or product or "")[:63] or None,
            "things": [self.hide(one) for one in dict.fromkeys((*self.named, *created))][:MOST_THINGS],
            "outcome": outcome,
            "status": status,
            "address": self.address[:64] if self.address else None,
            "request_id": self.hide(self.request_id) if self.request_id else None,
            "times": 1,
        }


@dataclass
class _Seen:
    """What one transaction has changed so far."""

    has_changed: bool = False
    created: list[str] = field(default_factory=list)
    product: str | None = None
    record: Values | None = None

    def note(self, new: Iterable[object], others: Iterable[object]) -> None:
        rows = [*new, *others]
        self.has_changed = self.has_changed or bool(rows)
        self.created += [row.id for row in new if isinstance(getattr(row, "id", None), str)]  # type: ignore[attr-defined]
        self.product = self.product or next((one for one in map(product_of, rows) if one), None)


@dataclass
class _Window:
    """What one caller was refused in the current minute. ``rest``: by status, what is counted only."""

    until: float
    seen: int = 0
    rest: dict[int, Values] = field(default_factory=dict)


class Trail:
    """The records of one process that no transaction held. No request waits for them."""

    def __init__(self, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pending: list[Values] = []
        self._answered: dict[str, int] = {}
        self._windows: dict[tuple[str | None, str | None, bool], _Window] = {}
        self._hide_keys = hiding(settings.first_key)

    def hide(self, text: str) -> str:
        """The text as it may be kept: without a key that somebody wrote into a path or a header."""
        text = self._hide_keys(text)[:MOST_LETTERS]
        # PostgreSQL takes no NUL, no encoding half a surrogate, and a line of the log no line break.
        return "".join(letter if letter.isprintable() else "?" for letter in text)

    def finish(self, attempt: Attempt, status: int) -> None:
        """Records how a request was answered; call it before the client has the answer."""
        if attempt.record is not None:
            if status != attempt.record["status"]:
                attempt.record["status"] = self._answered[attempt.record["id"]] = status
            _log(attempt.record)
            return
        outcome = "unchanged" if status < 400 else "refused" if status < 500 else "failed"
        self._add(attempt.describe(outcome, status), is_stranger=attempt.caller is None)

    def write(self, db: Database, *, is_last: bool = False) -> None:
        """Writes what has come since, and the counts of minutes that are over. Raises UnavailableError."""
        with self._writing:
            self._write(db, is_last=is_last)

    def close(self, db: Database) -> None:
        """Writes what is left, counts of a minute that is not over too."""
        try:
            self.write(db, is_last=True)
        except LoupeError as error:
            logger.warning("audit: the last refusals are in the log alone: %s", error.detail)

    def _write(self, db: Database, *, is_last: bool) -> None:
        with self._lock:
            now = time.monotonic()
            over = [who for who, one in self._windows.items() if is_last or one.until <= now]
            for who in over:
                counted = self._windows.pop(who).rest.values()
                for values in counted:
                    _log(values)
                self._pending += counted
            pending, answered = list(self._pending), dict(self._answered)
        if not pending and not answered:
            return
        with db.write() as session:
            if pending:
                session.execute(insert(AuditRecord), pending)
            for record_id, status in answered.items():
                session.execute(update(AuditRecord).where(AuditRecord.id == record_id).values(status=status))
        with self._lock:
            del self._pending[: len(pending)]
            for record_id in answered:
                self._answered.pop(record_id, None)

    def _add(self, values: Values, *, is_stranger: bool) -> None:
        with self._lock:
            client = values["address"] and site_of(values["address"])
            who = (client, values["key_id"], is_stranger)
            if who not in self._windows and len(self._windows) >= MOST_WINDOWS:
                who, values["address"] = (None, None, True), None
            window = self._windows.setdefault(who, _Window(time.monotonic() + WINDOW_SECONDS))
            window.seen += 1
            most = MOST_OF_STRANGERS if is_stranger else MOST_OF_CALLERS
            if window.seen <= most and len(self._pending) < MOST_PENDING:
                self._pending.append(values)
                _log(values)
                return
            counted = window.rest.setdefault(values["status"], {**values, "times": 0})
            counted["times"] += 1
            if counted["action"] != values["action"]:
                counted |= {"action": "several", "things": [], "product_id": None}
            if counted["address"] != values["address"]:
                counted["address"] = client


def _log(values: Values) -> None:
    shown = {**values, "created_at": values["created_at"].isoformat()}
    logger.info(
        "%s %r: %s %s, %s",
        "somebody" if values["caller"] is None else "the key",
        values["caller"] or values["address"],
        values["action"],
        values["things"],
        values["outcome"],
        extra={"audit": shown},
    )
