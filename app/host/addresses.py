"""Names and addresses of hosts."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def matches_host(name: str, pattern: str) -> bool:
    """Whether a host is the one of ``pattern``, or below it where that begins with ``*.``."""
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern
