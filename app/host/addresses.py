"""Names and addresses of hosts."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

IPV6_SITE_BITS = 64
"""A client has the whole of such a network to choose its addresses from."""


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


def site_of(host: str) -> str:
    """What counts as one client: an IPv4 address, or the network of an IPv6 one."""
    address = parse_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, IPV6_SITE_BITS), strict=False))
    return host


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, whichever way it is written; None for what is none. IPv4 inside of IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class TrustedProxies:
    """Addresses and networks separated by commas; ``*`` is any. What is neither is compared as it is."""

    def __init__(self, text: str) -> None:
        self.is_any = text.strip() == "*"
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for part in filter(None, map(str.strip, text.split(","))):
            try:
                self._networks.append(ipaddress.ip_network(part))
            except ValueError:
                self._names.add(part)
        self._finds = lru_cache(maxsize=4096)(self._find)

    def __contains__(self, host: str) -> bool:
        return self.is_any or self._finds(host[:100])

    def _find(self, host: str) -> bool:
        address = parse_address(host)
        if address is None:
            return host in self._names
        return any(address in network for network in self._networks)
