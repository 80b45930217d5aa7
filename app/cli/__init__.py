"""The ``loupe`` command: a client of the HTTP API, and the way to start the service."""

from app.cli.root import main

__all__ = ["main"]
