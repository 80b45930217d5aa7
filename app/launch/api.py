"""Serving the API over HTTP: ``python -m app.launch.api``, with the settings of the environment."""

from __future__ import annotations

from asyncio import Protocol
from functools import partial
from typing import cast

import uvicorn

from app.config import Settings
from app.errors import LoupeError
from app.host.addresses import is_loopback
from app.launch.connections import Connections, limit_connections
from app.launch.http_protocol import LimitedProtocol
from app.logs import configure_logging
from app.main import create_app
from app.storage.home import check_at_start

GRACEFUL_SECONDS = 5


class UnprotectedError(LoupeError):
    status, code, title = 500, "unprotected", "Refuses to listen without an API key"


def serve(settings: Settings) -> None:
    """Serves until a signal ends it. Raises UnprotectedError rather than expose images to a network,
    StorageRefusedError when the shared storage cannot be used.
    """
    check_protected(settings)
    configure_logging(settings.log_level, settings.log_format, settings.first_key)
    check_at_start(settings)
    limits = limit_connections(settings)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        http=cast(type[Protocol], partial(LimitedProtocol, connections=Connections(limits))),
        ws="none",
        backlog=limits.backlog,
        log_level=settings.log_level.lower(),
        log_config=None,  # its records take the way of all others
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        server_header=False,
        proxy_headers=False,  # the application does it, with the prefix: app/api/proxies.py
    )


def check_protected(settings: Settings) -> None:
    """Raises UnprotectedError when the address is beyond loopback and no API key is set."""
    host = settings.published_host or settings.host
    if settings.api_key is None and not is_loopback(host):
        raise UnprotectedError(
            f"{host} can be reached by other machines, and no API key is set.",
            hint="Set LOUPE_API_KEY to a long random text (`openssl rand -hex 32`), or listen on 127.0.0.1.",
        )


if __name__ == "__main__":
    serve(Settings())
