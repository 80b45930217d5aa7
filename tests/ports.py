"""Ports that nobody listens on."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_port(count: int = 1) -> int:
    """The first of ``count`` free ports in a row."""
    while True:
        with ExitStack() as stack:
            try:
                first = _bind(stack, 0)
                for port in range(first + 1, first + count):
                    _bind(stack, port)
            except (OSError, OverflowError):
                continue
            return first


def _bind(stack: ExitStack, port: int) -> int:
    probe = stack.enter_context(socket.socket())
    probe.bind(("127.0.0.1", port))
    bound: int = probe.getsockname()[1]
    return bound
