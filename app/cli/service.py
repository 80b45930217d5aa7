"""``loupe up``, and its parts for running them by hand. Only here does the command load the service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.client import CommandError
from app.cli.console import say
from app.cli.options import Home
from app.errors import FieldError

if TYPE_CHECKING:
    from app.config import Settings

Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on; beyond loopback set LOUPE_API_KEY.")
]
Port = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Port to listen on.")]


def up(host: Host = None, port: Port = None, home: Home = None) -> None:
    """Start Loupe: API, workers, and a Redis of its own, until Ctrl-C.

    Everything that is kept lies in the home folder, ~/.loupe if not given.
    Settings come from LOUPE_… variables and a .env file; these options go before them.
    """
    settings = load_settings(host=host, port=port, home=home)
    from app.launch.up import up as run_all

    raise typer.Exit(run_all(settings))


def api(host: Host = None, port: Port = None, home: Home = None) -> None:
    """Run the HTTP API alone. The database must be migrated, and workers must run elsewhere."""
    settings = load_settings(host=host, port=port, home=home)
    from app.launch.api import serve

    serve(settings)


def worker(
    queue: Annotated[
        Literal["training", "gpu", "cpu", "tasks"],
        typer.Option(
            "--queue",
            help="training: every training that this machine can run. gpu: those for a GPU or for either. "
            "cpu: those that ask for the processor. tasks: all other kinds of jobs.",
        ),
    ] = "training",
    home: Home = None,
) -> None:
    """Run one worker alone. It needs LOUPE_REDIS_URL, or a running `loupe up` on the same home.

    It waits for a database that is not there yet, or not migrated. Of trainings it runs one on each GPU
    that it sees or that LOUPE_GPUS names, or one on the processor.
    """
    settings = load_settings(home=home)
    from app.db import Database
    from app.logs import configure_logging
    from app.schema_version import wait_until_migrated
    from app.storage.home import check_at_start

    configure_logging(settings.log_level, settings.log_format, settings.first_key)
    check_at_start(settings)
    database = Database(settings.resolved_database_url)
    wait_until_migrated(database)
    database.dispose()
    # -P: a folder `app` where the command is run must not stand in for Loupe's.
    command = [sys.executable, "-P", "-m", "app.workers", "--queue", queue]
    os.execve(sys.executable, command, {**os.environ, "LOUPE_HOME": str(settings.home)})


def migrate(
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="REVISION", help="Up or down to this migration instead of the newest."),
    ] = None,
    home: Home = None,
) -> None:
    """Bring the database's schema up to date. `loupe up` does so by itself.

    With --to it also goes down, for a return to an older version: stop everything, make a backup, run this
    with the newer version, start the older one. What came with later migrations is lost.
    """
    settings = load_settings(home=home)
    from app.db import Database
    from app.migrations import move_to, upgrade

    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    try:
        if to is None:
            upgrade(database)
        else:
            move_to(database, to)
    finally:
        database.dispose()
    say("The database is up to date." if to is None else f"The database is at {to}.")


def load_settings(*, home: Path | None, **overrides: Any) -> Settings:
    """The environment's settings under the given ones. Raises CommandError that names each wrong variable."""
    from pydantic import ValidationError

    from app.config import Settings

    given = {name: value for name, value in {"home": home, **overrides}.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        errors = tuple(
            FieldError(f"LOUPE_{str(item['loc'][0]).upper()}" if item["loc"] else "settings", item["msg"])
            for item in error.errors()
        )
        raise CommandError(
            "Settings of the environment are not valid.",
            hint="They come from LOUPE_… variables and the .env file here.",
            errors=errors,
        ) from error
