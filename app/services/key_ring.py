"""The keys and browser sessions that a process knows, in memory: no request asks the database who sent it.

They are loaded again when a process changes them (``app/changes.py``). Who has no secret learns nothing here.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from app.context import AppContext
from app.errors import UnauthorizedError, UnavailableError
from app.models import ApiKey, BrowserSession
from app.models.base import utc_now
from app.schemas.caller import Caller
from app.schemas.limits import Limits
from app.schemas.scopes import SCOPES, with_implied
from app.services.key_quotas import default_limits

TOPIC = "api_keys"
"""What a change of a key or of a session is noted under."""
BRAND = "lp"
USE_SECONDS = 60.0
"""The last use of a key is written at most so often."""


@dataclass(frozen=True)
class Secret:
    """The hash of a key's secret, and until when it is good."""

    sha256: bytes
    until: datetime | None = None


@dataclass(frozen=True)
class Key:
    caller: Caller
    secrets: tuple[Secret, ...]
    expires_at: datetime | None = None

    def find(self, sha256: bytes) -> Secret | None:
        """The secret with this hash, if it is good now."""
        return next((one for one in self._good() if hmac.compare_digest(one.sha256, sha256)), None)

    def is_proved(self, token: str, proof: str) -> bool:
        """Whether a session was opened with a secret that is good still."""
        return any(hmac.compare_digest(proof, prove(token, one)) for one in self._good())

    def _good(self) -> list[Secret]:
        return [one for one in self.secrets if not _is_over(one.until)]


@dataclass(frozen=True)
class Session:
    key_id: str | None
    proof: str
    expires_at: datetime


@dataclass(frozen=True)
class _Known:
    keys: Mapping[str, Key]
    """By their prefixes."""
    keys_by_id: Mapping[str, Key]
    sessions: Mapping[str, Session]
    """By the hashes of their tokens."""


class KeyRing:
    """Finds who shows a key or a session. Its methods wait for nothing but ``load`` and ``write_uses``."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._known: _Known | None = None
        self._used: set[str] = set()
        self._written: dict[str, float] = {}
        self._defaults = default_limits(context.settings)
        first = context.settings.api_key
        self._first: Key | None = None
        if first is not None:
            secret = Secret(digest(first.get_secret_value()))
            self._first = Key(Caller(None, "LOUPE_API_KEY", frozenset(SCOPES)), (secret,))

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for: LOUPE_API_KEY is not set, and there is no other key.

        Raises UnavailableError where that is not known yet.
        """
        return self._first is None and not self._require_known().keys

    @property
    def is_unread(self) -> bool:
        """Whether only the database knows if a key is asked for, and it has not been reached."""
        return self._first is None and self._known is None

    def find_key(self, given: bytes) -> tuple[Caller, Secret]:
        """Who shows the key ``given``. Raises UnauthorizedError; UnavailableError before the first load."""
        if self._first is not None and (secret := self._first.find(digest(given))) is not None:
            return self._first.caller, secret
        brand, _, rest = given.decode("ascii", "replace").partition("_")
        prefix, _, text = rest.partition("_")
        if brand != BRAND or not text:
            raise unauthorized()
        key = self._require_known().keys.get(prefix)
        secret = None if key is None else key.find(digest(text))
        if key is None or secret is None:
            raise unauthorized()
        _require_current(key)
        return key.caller, secret

    def find_session(self, token: str) -> Caller:
        """Whose browser shows ``token``. Raises UnauthorizedError; UnavailableError before the first load."""
        known = self._require_known()
        session = known.sessions.get(hash_token(token))
        if session is None or _is_over(session.expires_at):
            raise unauthorized()
        key = self._first if session.key_id is None else known.keys_by_id.get(session.key_id)
        if key is None or not key.is_proved(token, session.proof):
            raise unauthorized()
        _require_current(key)
        return key.caller

    def note_use(self, caller: Caller) -> None:
        """Remembers that a key was used; ``write_uses`` writes it."""
        if caller.key_id is not None:
            self._used.add(caller.key_id)

    def write_uses(self) -> None:
        """Writes the last use of each key that was used, at most once a minute. Raises UnavailableError."""
        now, used = time.monotonic(), self._used.copy()
        due = [one for one in sorted(used) if now - self._written.get(one, -USE_SECONDS) >= USE_SECONDS]
        if not due:
            return
        moment = utc_now()
        is_older = or_(
            ApiKey.last_used_at.is_(None), ApiKey.last_used_at < moment - timedelta(seconds=USE_SECONDS / 2)
        )
        with self._context.db.write() as session:
            # One order for all processes: an update alone locks in any, and two could wait for each other.
            old = session.scalars(
                select(ApiKey.id).where(ApiKey.id.in_(due), is_older).order_by(ApiKey.id).with_for_update()
            ).all()
            session.execute(
                update(ApiKey)
                .where(ApiKey.id.in_(old))
                .values(last_used_at=moment)
                .execution_options(synchronize_session=False)
            )
        self._used -= set(due)
        self._written |= dict.fromkeys(due, now)

    def load(self) -> None:
        """Reads all keys and sessions. Raises UnavailableError."""
        with self._context.db.read() as session:
            rows = session.scalars(select(ApiKey)).all()
            opened = session.scalars(select(BrowserSession)).all()
        keys = {row.prefix: _read(row, self._defaults) for row in rows}
        self._known = _Known(
            keys=keys,
            keys_by_id={row.id: keys[row.prefix] for row in rows},
            sessions={row.token_sha256: Session(row.key_id, row.proof, row.expires_at) for row in opened},
        )

    def _require_known(self) -> _Known:
        if self._known is None:
            raise UnavailableError(
                "The keys could not be read from the database yet.", hint="Try again in a few seconds."
            )
        return self._known


def digest(secret: str | bytes) -> bytes:
    """The hash under which a secret is kept. It has too many bits to be guessed, so a fast one is enough."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).digest()


def hash_token(token: str) -> str:
    return digest(token).hex()


def prove(token: str, secret: Secret) -> str:
    """Ties a session to the secret that opened it.

    The token is no part of the row, so the row of a session of LOUPE_API_KEY does not help to guess that.
    """
    return hmac.new(token.encode(), secret.sha256, "sha256").hexdigest()


def unauthorized(
    detail: str = "The request has no key that this server knows.",
) -> UnauthorizedError:
    return UnauthorizedError(detail, hint="Send `Authorization: Bearer <key>`.")


def _read(row: ApiKey, defaults: Limits) -> Key:
    secrets = [Secret(bytes.fromhex(row.secret_sha256))]
    if row.previous_sha256 is not None:
        secrets.append(Secret(bytes.fromhex(row.previous_sha256), row.previous_until))
    products = None if row.products is None else frozenset(row.products)
    limits = Limits(**(row.limits or {})).or_else(defaults)
    caller = Caller(row.id, row.name, with_implied(row.scopes), products, limits)
    return Key(caller, tuple(secrets), row.expires_at)


def _require_current(key: Key) -> None:
    if _is_over(key.expires_at):
        raise unauthorized(f"The key {key.caller.name!r} has expired.")


def _is_over(moment: datetime | None) -> bool:
    return moment is not None and moment <= utc_now()
