"""The database: one engine a process, and the two ways to use it, ``read`` and ``write``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import InstrumentedAttribute, ORMExecuteState, Session

from app.errors import InvalidRequestError, NotFoundError, StorageFullError, UnavailableError
from app.models import Base
from app.models.product_limits import limits_of, product_of
from app.schemas.caller import ANYBODY, Caller

SQLITE_BUSY_SECONDS = 15
READ_ONLY = "loupe_read_only"
CALLER = "loupe_caller"


class Recorder(Protocol):
    """Adds to each transaction that changes something a record of who did that."""

    def watch(self, session: Session) -> None: ...

    def note_caller(self, caller: Caller) -> None: ...


class _NoRecorder:
    """Of processes that nobody asks: jobs have their events."""

    def watch(self, session: Session) -> None:
        pass

    def note_caller(self, caller: Caller) -> None:
        pass


class Database:
    """An engine with the pragmas and timeouts that Loupe relies on."""

    def __init__(self, url: str) -> None:
        self.engine = _create_engine(url)
        self._reading = self.engine.execution_options(**{READ_ONLY: True})
        self.caller = ANYBODY
        self._recorder: Recorder = _NoRecorder()

    def recorded_by(self, recorder: Recorder) -> Database:
        """The same database, with its changes recorded."""
        seen = copy(self)
        seen._recorder = recorder
        return seen

    def on_behalf_of(self, caller: Caller) -> Database:
        """The same database as ``caller`` may see it: a key that is bound to products sees no other."""
        seen = copy(self)
        seen.caller = caller
        seen._recorder.note_caller(caller)
        return seen

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one snapshot and changes nothing."""
        with _translated_errors(), Session(self._reading, autoflush=False) as session:
            _limit(session, self.caller.products)
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back if it raises."""
        with (
            _translated_errors(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            _limit(session, self.caller.products)
            session.info[CALLER] = self.caller
            self._recorder.watch(session)
            yield session

    def dispose(self) -> None:
        self.engine.dispose()


def caller_of(session: Session) -> Caller:
    """On whose behalf a session of ``write`` changes something."""
    caller: Caller = session.info[CALLER]
    return caller


def upsert(
    session: Session,
    table: type[Base],
    rows: Sequence[Mapping[str, Any]],
    key: tuple[str, ...],
    *,
    where: ColumnElement[bool] | None = None,
    is_sum: bool = False,
    returning: InstrumentedAttribute[Any] | None = None,
) -> list[Any]:
    """Inserts ``rows``, which all have the same columns; where one with the same ``key`` exists, changes it.

    ``where`` limits which existing rows may change; with ``is_sum`` the new values are added to theirs.
    Returns the column ``returning`` of the rows that were inserted or changed, if it is given. Every row is
    locked, also one that has no column beside its key.
    """
    if not rows:
        return []
    insert = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    statement = insert(table)
    changed = [name for name in rows[0] if name not in key] or key
    columns = table.__table__.c
    upserting = statement.on_conflict_do_update(
        index_elements=key,
        set_={
            name: columns[name] + statement.excluded[name] if is_sum else statement.excluded[name]
            for name in changed
        },
        where=where,
    )
    if returning is None:
        session.execute(upserting, rows)
        return []
    return list(session.scalars(upserting.returning(returning), rows))


def _limit(session: Session, products: frozenset[str] | None) -> None:
    """Limits every statement and every new row of a session to ``products``; None: to nothing."""
    if products is None:
        return

    def limit(state: ORMExecuteState) -> None:
        # A row that was loaded may be refreshed.
        if not state.is_column_load:
            state.statement = state.statement.options(*limits_of(products))

    def check(session: Session, *_: object) -> None:
        for row in session.new:
            product = product_of(row)
            if product is not None and product not in products:
                raise NotFoundError(
                    f"There is no product {product!r}.",
                    hint="`loupe product list` shows those that there are.",
                )

    event.listen(session, "do_orm_execute", limit)
    event.listen(session, "before_flush", check)


def _create_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": SQLITE_BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(
            parsed,
            pool_pre_ping=True,
            pool_timeout=2,
            pool_size=10,
            max_overflow=20,
            connect_args={
                "connect_timeout": 2,
                "options": "-c statement_timeout=30000 -c lock_timeout=10000",
                "tcp_user_timeout": 5000,
            },
        )
    raise ValueError(f"LOUPE_DATABASE_URL: {parsed.get_backend_name()!r} is not one of sqlite, postgresql")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling would begin late and deferred; `_begin_sqlite` begins instead.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: upgrading a read transaction later fails with "database is locked".
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if "disk is full" in str(error.orig):
            raise StorageFullError(
                "The database's disk is full.", hint="Free some space, then try again."
            ) from error
        raise UnavailableError(
            "The database does not answer.", hint="It may be restarting; try again in a few seconds."
        ) from error
    except (DataError, UnicodeEncodeError) as error:
        raise InvalidRequestError(
            "A text holds characters that cannot be stored, such as NUL.", hint="Leave them out."
        ) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise UnavailableError(
                "The connection to the database was lost.", hint="Try again in a few seconds."
            ) from error
        raise
    except PoolTimeoutError as error:
        raise UnavailableError(
            "All database connections are in use.", hint="Try again in a few seconds."
        ) from error
