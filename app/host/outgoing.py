"""Requests to addresses that a client named: whom they may reach, and how long an answer may take.

A name is looked up once: the request goes to the very address that was checked, whatever the name becomes in
between. Nothing is followed, neither a redirect nor a proxy of the environment.
"""

from __future__ import annotations

import functools
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore2 as httpcore
import httpx2 as httpx

from app.errors import AddressRefusedError
from app.host.addresses import matches_host
from app.host.public_addresses import Address, is_never_meant, is_public, read_address

HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))*")
# What C libraries read as an address, such as 127.1, 0x7f000001 or 2130706433.
NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
PRINTABLE = re.compile(r"[!-~]+")
CONNECT_SECONDS = 4.0
MAX_ANSWER_BYTES = 4096

Resolver = Callable[[str, int], Sequence[str]]
"""The addresses of a name. Raises OSError."""


class NoAnswerError(Exception):
    """The request got no whole answer; its text is a sentence."""


@dataclass(frozen=True)
class Destination:
    """A URL that was taken apart: what was checked is what is used."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str) -> Destination:
        """Raises AddressRefusedError for what is no plain URL of http or https."""
        if not PRINTABLE.fullmatch(url) or "\\" in url:
            raise AddressRefusedError(
                "The URL has characters that no URL has.",
                hint="Write a name in its ASCII form (xn--…), and others as %XX.",
            )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise AddressRefusedError(
                f"That is no URL: {error}.", hint="For example https://HOST/PATH."
            ) from None
        if parts.scheme not in ("http", "https") or not host or port == 0:
            raise AddressRefusedError(
                "That is not a URL of http or https.", hint="For example https://HOST/PATH."
            )
        if "@" in parts.netloc or parts.fragment:
            raise AddressRefusedError(
                "The URL has a user name or a fragment.",
                hint="Every message is signed: the receiver checks that instead of a password.",
            )
        address = read_address(host)
        if "%" in host or (address is None and (NUMERIC.fullmatch(host) or not HOST_NAME.fullmatch(host))):
            raise AddressRefusedError(
                f"{host!r} is neither the name of a host nor an address in its usual form.",
                hint="Write an address as 192.0.2.1 or [2001:db8::1].",
            )
        default = 443 if parts.scheme == "https" else 80
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, str(address or host), port or default, target)


@dataclass(frozen=True)
class Reach:
    """Whom requests may reach; ``hosts`` as LOUPE_WEBHOOK_HOSTS says."""

    hosts: tuple[str, ...] = ()

    def check_host(self, host: str) -> None:
        """Raises AddressRefusedError for a host that the setting leaves out, before anything is looked up."""
        if self.hosts and "*" not in self.hosts and not self._is_named(host):
            raise AddressRefusedError(
                f"The host {host} is not one that webhooks may be sent to.",
                hint="Name it in LOUPE_WEBHOOK_HOSTS.",
            )
        if (address := read_address(host)) is not None:
            self.check_addresses(host, [address])

    def check_addresses(self, host: str, addresses: Iterable[Address]) -> None:
        """Raises AddressRefusedError if one of them is not for this host to have."""
        for address in addresses:
            if is_never_meant(address):
                raise AddressRefusedError(
                    f"{host} is {address}, which no webhook may be sent to.",
                    hint="It is link-local, a group, or a cloud's own service.",
                )
            if not is_public(address) and not self._is_named(host):
                raise AddressRefusedError(
                    f"{host} is {address}, which is not a public address.",
                    hint="If it is meant, name the host in LOUPE_WEBHOOK_HOSTS.",
                )

    def _is_named(self, host: str) -> bool:
        return any(matches_host(host, pattern) for pattern in self.hosts if pattern != "*")


@dataclass(frozen=True)
class Answer:
    status: int
    retry_after: str | None
    text: str
    """The beginning of its body."""


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name by this machine's own resolver. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is too long
        raise OSError(str(error)) from None
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def find_addresses(
    destination: Destination, reach: Reach, *, seconds: float, resolve: Resolver = look_up
) -> list[Address]:
    """Where a request to ``destination`` would go. Raises AddressRefusedError, NoAnswerError."""
    host = destination.host
    reach.check_host(host)
    if (address := read_address(host)) is not None:
        return [address]
    found = [read_address(text) for text in _resolve_in_time(host, destination.port, seconds, resolve)]
    # An address with a zone, such as fe80::1%eth0, is link-local.
    addresses = [
        address for address in found if address is not None and not getattr(address, "scope_id", None)
    ]
    if not addresses or len(addresses) < len(found):
        raise NoAnswerError(f"The name {host} has no address that can be used.")
    reach.check_addresses(host, addresses)
    return addresses


def post(
    destination: Destination,
    reach: Reach,
    headers: Mapping[str, str],
    body: bytes,
    *,
    seconds: float,
    resolve: Resolver = look_up,
    ssl_context: ssl.SSLContext | None = None,
) -> Answer:
    """Sends ``body``; all of it takes at most ``seconds``, however slowly the other side is.

    Raises AddressRefusedError, NoAnswerError.
    """
    deadline = time.monotonic() + seconds
    addresses = find_addresses(destination, reach, seconds=seconds, resolve=resolve)
    backend = _CheckedBackend(addresses, deadline)
    url = httpcore.URL(
        scheme=destination.scheme.encode(),
        host=destination.host.encode(),
        port=destination.port,
        target=destination.target.encode(),
    )
    context = ssl_context or _ssl_context()
    try:
        with (
            httpcore.ConnectionPool(ssl_context=context, network_backend=backend) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
        ):
            return Answer(response.status, _header(response, b"retry-after"), _read_text(response))
    except httpcore.TimeoutException:
        raise NoAnswerError(f"No whole answer came within {seconds:g} seconds.") from None
    except httpcore.ConnectError as error:
        raise NoAnswerError(f"Could not connect: {error}.") from None
    except httpcore.NetworkError as error:
        raise NoAnswerError(f"The connection broke: {error}.") from None
    except httpcore.ProtocolError as error:
        raise NoAnswerError(f"What came back is not HTTP: {error}.") from None


def _resolve_in_time(host: str, port: int, seconds: float, resolve: Resolver) -> Sequence[str]:
    """The lookup in a thread of its own: nothing else ends a C library's own patience."""
    results: list[Sequence[str]] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            results.append(resolve(host, port))
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="lookup", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    reason = errors[0].strerror or errors[0] if errors else "the lookup took too long"
    raise NoAnswerError(f"The name {host} cannot be looked up: {reason}.")


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """With the certificates of the system, or of SSL_CERT_FILE; loading them takes a while."""
    return httpx.create_ssl_context()


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


def _read_text(response: httpcore.Response) -> str:
    body = b""
    for chunk in response.iter_stream():
        body += chunk
        if len(body) >= MAX_ANSWER_BYTES:
            break
    return body[:MAX_ANSWER_BYTES].decode("utf-8", "replace")


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were checked, whatever host is asked for, and keeps to one deadline."""

    def __init__(self, addresses: Sequence[Address], deadline: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 (its addresses are known)
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception | None = None
        for address in self._addresses:
            patience = min(_remaining(self._deadline), CONNECT_SECONDS)
            try:
                stream = self._backend.connect_tcp(
                    str(address), port, patience, local_address, socket_options
                )
                return _TimedStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
        assert error is not None
        raise error


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every step ends at the deadline: a byte a second does not prolong it."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, _remaining(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, _remaining(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _remaining(self._deadline))
        return _TimedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left
