"""uvicorn's HTTP protocol with an end: to heads, to slow clients, and to what it cannot read.

uvicorn alone keeps a head of any length in memory, waits for ever for the rest of a request, loses the body
of a request that asks for another protocol, and closes on a client that still sends, which loses its answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn._types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.errors import LoupeError, UnavailableError
from app.launch.connections import SLOW, UNREAD, Connections
from app.launch.refusals import (
    LEAST_BYTES_A_SECOND,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    head_too_large,
    in_bytes,
    malformed_request,
    slow_request,
    too_many_connections,
)

MAX_PIPELINED = 32
"""Requests that one connection may have sent ahead of their answers: each is held in memory."""
UNREAD_PERIODS = 3
"""An answer may stand still for so many times as long as a head may take."""
LINGER_SECONDS = 5.0
LINGER_BYTES = 128 * 2**20
"""Python's http.client reads no answer before it has sent all: as much as a prediction may be, twice."""
TURNED_AWAY_SECONDS = 2.0
UPGRADE_HEADERS = frozenset({b"upgrade", b"http2-settings"})


class _RefusedError(Exception):
    """Ends the parser's walk through what was received."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. What it costs ends: memory for heads, time for heads, bodies and answers."""

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._all = connections
        self.idle_since: float | None = connections.now
        self._answered: RequestResponseCycle | None = None
        self._refusal: LoupeError | None = None
        self._bytes_without_body = 0
        self._is_reading_head, self._is_reading_body = True, False
        self._body_bytes = 0
        self._waited = 0.0
        """Seconds that we have waited for the part of the request that comes now."""
        self._unsent, self._unread_for = 0, 0.0
        self._has_heard = self._is_deaf = False
        self._dropped_bytes = 0
        self._ends_in: float | None = None
        """Seconds until it is closed, whatever still comes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._answers_end = _AnswersEnd(self, transport)
        if not self._all.add(self):
            self._refusal, self._ends_in = too_many_connections(), TURNED_AWAY_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        if self._answered is not None:  # uvicorn tells the last of several that were sent ahead
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._is_deaf:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > LINGER_BYTES:
                self.transport.close()
            return
        self._has_heard = True
        if self._refusal is not None:
            self._refuse(self._refusal)
            return
        if not self._is_reading_head and not self._is_reading_body:
            self._is_reading_head, self._waited = True, 0.0
        self._bytes_without_body += len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._read_again(data[upgrade.args[0] :])
            if self._bytes_without_body > MAX_HEAD_BYTES:
                self._refuse(head_too_large())
        except (httptools.HttpParserError, _RefusedError):
            self._refuse(self._refusal or malformed_request())

    def resume_writing(self) -> None:
        self._unread_for = 0.0
        super().resume_writing()

    # --- What the parser finds --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_reading_head, self._waited = True, 0.0

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # read again without: see _read_again
        is_long = self._bytes_without_body > MAX_HEAD_BYTES and self._is_head_too_large()
        if is_long or len(self.headers) > MAX_HEADERS:
            self._stop_parsing(head_too_large())
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing(malformed_request("Too many requests were sent ahead of their answers."))
        if self._has_unknown_coding():
            self._stop_parsing(
                malformed_request("A body may come as it is or in chunks, in no other coding.")
            )
        super().on_headers_complete()
        self.cycle.transport = self._answers_end  # type: ignore[assignment]
        self.idle_since = None
        self._is_reading_head, self._is_reading_body = False, True
        self._waited, self._body_bytes = 0.0, 0

    def on_body(self, body: bytes) -> None:
        self._bytes_without_body = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._bytes_without_body = 0
        self._is_reading_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # of those sent ahead, the last one's
            self.idle_since = self._all.now

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        async def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            async def send_maybe_last(event: ASGISendEvent) -> None:
                if event["type"] == "http.response.start" and cycle.more_body:
                    cycle.keep_alive = False  # nobody wants the rest of the body: see end_answer
                await send(event)

            try:
                await app(scope, receive, send_maybe_last)
            except asyncio.CancelledError:  # only the end of the server cancels
                if not cycle.response_started and not self.transport.is_closing():
                    self._answer(UnavailableError("The server ends.", hint="Ask again in a moment."))
                cycle.disconnected = True
                self.transport.close()

        self._answered = cycle
        super()._start_asgi_task(cycle, answer)

    def _is_head_too_large(self) -> bool:
        """What was received may hold more than this head, so only then is it counted."""
        headers = sum(len(name) + len(value) + 4 for name, value in self.headers)
        return len(self.url) + headers > MAX_HEAD_BYTES

    def _has_unknown_coding(self) -> bool:
        """The parser takes any coding that ends in chunks, and gives its bytes as if they were the body."""
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        return bool(codings) and codings != [b"chunked"]

    def _read_again(self, rest: bytes) -> None:
        """Reads a request for another protocol, and the ``rest``, as if it had not asked for it."""
        while True:
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)
            # As uvicorn sets it: what follows a request that is to be the last is no error.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            try:
                self.parser.feed_data(head + rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = (head + rest)[upgrade.args[0] :]

    def _head_without_upgrade(self) -> bytes:
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._stop_parsing(malformed_request("This is no proxy: it does not CONNECT to other hosts."))
        version = self.parser.get_http_version().encode("ascii")
        lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() in (b"close", b"keep-alive"))
            if name not in UPGRADE_HEADERS:
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def _stop_parsing(self, refusal: LoupeError) -> None:
        self._refusal = refusal
        raise _RefusedError

    # --- Ends -------------------------------------------------------------------------------------------

    def look(self, elapsed: float) -> None:
        seconds = self._all.limits.slow_seconds
        if self._is_unread(elapsed, UNREAD_PERIODS * seconds):
            self._all.note(UNREAD)
            self.close_now()
        elif self.transport.is_closing():
            return
        elif self._ends_in is not None:
            self._ends_in -= elapsed
            if self._ends_in < 0:
                self.transport.close()
        elif self._is_reading_head or self._is_reading_body:
            self._look_at_reading(elapsed, seconds)

    def close_now(self) -> None:
        self.transport.abort()

    def end_answer(self) -> None:
        """Closes after an answer. Where the client still sends, a close would take the answer from it: so the
        connection ends for writing, and what comes is read and dropped for a while.
        """
        if self._is_reading_body and not self._is_deaf and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _is_unread(self, elapsed: float, at_most: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        self._unread_for = self._unread_for + elapsed if unsent and unsent >= self._unsent else 0.0
        self._unsent = unsent
        return self._unread_for > at_most

    def _look_at_reading(self, elapsed: float, seconds: float) -> None:
        if self._is_ours_to_wait():
            return
        self._waited += elapsed
        if self._waited <= seconds:
            return
        if self._is_reading_body and not self.cycle.response_complete and not self._is_slow():
            self._waited, self._body_bytes = 0.0, 0
        else:
            self._all.note(SLOW)
            self._refuse(slow_request())

    def _is_ours_to_wait(self) -> bool:
        """Whether it is not the client's turn: we do not read, or have not asked for the body yet, or what
        comes was sent ahead.
        """
        if self._is_reading_body:
            return self.flow.read_paused or (self.cycle.waiting_for_100_continue and not self._body_bytes)
        return self._is_under_way()

    def _is_under_way(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_slow(self) -> bool:
        return self._body_bytes < LEAST_BYTES_A_SECOND * self._waited

    def _refuse(self, error: LoupeError) -> None:
        """Ends the connection, with ``error`` as the answer to the request that comes in."""
        self._is_deaf = True
        if self.transport.is_closing():
            return
        if self._is_reading_body:
            if self._is_under_way() and not self.cycle.response_started and not self.pipeline:
                self._answer(error)
            self.transport.close()  # the application hears of it
        elif self._is_under_way():
            self.cycle.keep_alive = False  # its answer is the last
        elif self._has_heard:
            self._answer(error)
            self._linger()
        else:
            self.transport.close()  # a connection that somebody opened ahead

    def _answer(self, error: LoupeError) -> None:
        self.transport.write(in_bytes(error, self.server_state.default_headers))

    def _linger(self) -> None:
        self._is_deaf = True
        self.flow.resume_reading()
        self._ends_in = LINGER_SECONDS if self._ends_in is None else self._ends_in
        self.transport.write_eof()


class _AnswersEnd:
    """The transport as uvicorn's answer uses it, whose close waits for what the client still sends."""

    def __init__(self, protocol: LimitedProtocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self.write = transport.write
        self.is_closing = transport.is_closing

    def close(self) -> None:
        self._protocol.end_answer()
