"""How a step becomes an HTTP request, and an answer a result or an error; when it is worth trying again."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar

import httpx2 as httpx

from loupe.errors import LoupeError, RefusedError, UnreachableError
from loupe.steps import Ask, Pause, Steps

T = TypeVar("T")

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 600.0
"""An upload is answered once all of it is stored."""
AWAY = frozenset({429, 502, 503, 504})
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0


@dataclass(frozen=True)
class Address:
    """``patience``: seconds for which a request is tried again where the server is away."""

    url: str
    headers: Mapping[str, str]
    patience: float

    @classmethod
    def of(cls, server: str | None, api_key: str | None, patience: float) -> Address:
        """Without ``server``: LOUPE_SERVER, else this machine at LOUPE_PORT; without ``api_key``:
        LOUPE_API_KEY. Raises LoupeError.
        """
        given = server or os.environ.get("LOUPE_SERVER") or local_server()
        url = (given if "://" in given else f"http://{given}").rstrip("/")
        if (fault := _find_fault(url)) is not None:
            raise LoupeError(
                f"{given!r} is no address of a server: {fault}.", "For example http://127.0.0.1:8000."
            )
        key = (api_key or os.environ.get("LOUPE_API_KEY", "")).strip()
        if not key.isprintable():
            source = "api_key" if api_key else "LOUPE_API_KEY"
            raise LoupeError(
                f"{source} holds control characters, or bytes that are no text.",
                "Copy the key again, as one line.",
            )
        headers = {"Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return cls(url, headers, patience)

    def options(self) -> dict[str, Any]:
        """Of an ``httpx.Client`` or ``httpx.AsyncClient``."""
        return {
            "base_url": self.url,
            # In UTF-8, since a key may have any letters.
            "headers": {name: value.encode() for name, value in self.headers.items()},
            "timeout": httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            # A proxy for the outside world cannot reach this machine's own addresses.
            "trust_env": not _is_of_this_machine(httpx.URL(self.url).host),
        }


def local_server() -> str:
    """Where a Loupe of this machine answers, as far as the environment says it."""
    return f"http://127.0.0.1:{os.environ.get('LOUPE_PORT', '').strip() or 8000}"


def _find_fault(url: str) -> str | None:
    """Why no server can be asked at ``url``; None where one can."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        return str(error)
    if parts.scheme not in ("http", "https") or not parts.host:
        return "not http://HOST:PORT"
    if parts.query or parts.fragment:
        return "it has a query or a fragment; a path before those is fine"
    return None


def _is_of_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def request_of(ask: Ask) -> dict[str, Any]:
    """Arguments of ``httpx``'s ``request``, without the content of a stream."""
    request: dict[str, Any] = {"method": ask.method, "url": ask.path, "headers": dict(ask.headers)}
    if ask.params:
        request["params"] = dict(ask.params)
    if ask.files:
        request["files"] = [("file", file) for file in ask.files]
        request["data"] = dict(ask.fields)
    elif ask.json is not None:
        request["json"] = ask.json
    elif ask.content is None and ask.method == "POST":
        request["json"] = {}
    return request


def refused(response: httpx.Response) -> RefusedError:
    """Of a response whose body was read."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "detail" not in problem:
        problem = {
            "detail": f"{response.request.url} answered {response.status_code}, and not as a Loupe does.",
            "hint": "Check the address, and a proxy that may stand before it.",
        }
    return RefusedError(response.status_code, problem)


def unreachable(address: Address, error: httpx.TransportError) -> UnreachableError:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return UnreachableError(f"No Loupe answers at {address.url}.", "Start one with `loupe up`.")
    return UnreachableError(f"The connection to {address.url} was lost: {error or type(error).__name__}.")


def insist(steps: Steps[T], address: Address) -> Generator[Ask | Pause, Any, T]:
    """The steps of a verb with the tries of each request among them.

    It is sent what came of each ``Ask``: the ``httpx.Response``, read, or the ``httpx.TransportError``.
    """
    with closing(steps):
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    yield step
                    step = steps.send(None)
                    continue
                try:
                    answer = yield from _insist_on(step, address)
                except LoupeError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as ended:
            value: T = ended.value
            return value


def _insist_on(ask: Ask, address: Address) -> Generator[Ask | Pause, Any, Any]:
    began, attempt = time.monotonic(), 0
    while True:
        came: httpx.Response | httpx.TransportError = yield ask
        response = came if isinstance(came, httpx.Response) else None
        if response is not None and response.is_success:
            is_json = response.headers.get("content-type", "").startswith("application/json")
            return response.json() if is_json else None
        pause = pause_before_retry(ask, attempt, time.monotonic() - began, address, response)
        if pause is None:
            raise unreachable(address, came) if isinstance(came, httpx.TransportError) else refused(came)
        yield Pause(pause)
        attempt += 1


def pause_before_retry(
    ask: Ask, attempt: int, spent: float, address: Address, response: httpx.Response | None
) -> float | None:
    """Seconds until the next try; None where it would do harm or is not worth it.

    ``attempt`` counts from 0; ``spent``: seconds since the first one; ``response``: None where the connection
    broke.
    """
    if response is not None and response.status_code not in AWAY:
        return None
    # A refusal says that nothing was done; a broken connection does not.
    if response is None and not ask.is_repeatable:
        return None
    pause = min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS) * random.uniform(0.75, 1.25)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    if asked.isdecimal():
        pause = max(pause, float(asked))
    return pause if spent + pause <= address.patience else None
