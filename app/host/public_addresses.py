"""Addresses of hosts: which are public, and which nothing is ever sent to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# By IANA's registries of special-purpose addresses. Python's own `is_global` differs from release to release.
_NOT_PUBLIC_4 = [
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
]
_PUBLIC_6 = IPv6Network("2000::/3")
# Teredo and others of 2001::/23, examples, 6to4, and examples again: nothing that may be anywhere.
_NOT_PUBLIC_6 = [IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_MAPPED, _NAT64 = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96")

# Nobody receives webhooks there, and what clouds tell a machine about itself, passwords included, is there.
_NEVER = [
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32", "::/128", "fe80::/10"),
        *("ff00::/8", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::254/128"),
    )
]


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, and of no cloud's own service."""
    address = _within(address)
    if is_never_meant(address):
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def is_never_meant(address: Address) -> bool:
    """Whether nothing may be sent there, also if its host is named in a setting."""
    address = _within(address)
    return any(address.version == network.version and address in network for network in _NEVER)


def read_address(host: str) -> Address | None:
    """The address that a URL's host is in its usual form, None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _within(address: Address) -> Address:
    """The IPv4 address that one of IPv6 stands for."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(address.packed[-4:])
    return address
