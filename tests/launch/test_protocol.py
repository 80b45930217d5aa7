"""What is sent as HTTP and is none, or is odd: each gets an answer, and none takes another's."""

from __future__ import annotations

import pytest

from app.launch.refusals import MAX_HEAD_BYTES, MAX_HEADERS
from tests.launch.bare_api import HEAD, Api, problem_of, status_of

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 300, {400}),
        (b"GET /\r\n\r\n", {0, 200, 307, 404}),
        (b"\x00" * 500, {400}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
        (b"GET / HTTP/9.9\r\n\r\n", {400}),
        (b"GET /?q=\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", {400, 403}),
        (b"CONNECT evil:443 HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {400}),
        (HEAD + b"Content-Length: -2\r\n\r\n", {400}),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n", {400}),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\nabc", {400}),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", {400}),
        (HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", {400}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", {400}),
        (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n", {431}),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + 10) + b"\r\n\r\n", {431}),
        (b"GET /" + b"x" * (MAX_HEAD_BYTES + 10) + b" HTTP/1.1\r\n\r\n", {431}),
    ],
)
def test_what_is_no_request_gets_a_problem_document(
    api: Api, request_bytes: bytes, statuses: set[int]
) -> None:
    answer = api.ask(request_bytes)
    assert status_of(answer) in statuses
    if status_of(answer) >= 400:
        assert problem_of(answer)["status"] == status_of(answer)


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"nonsense"])
def test_a_request_for_another_protocol_is_answered_with_its_body(api: Api, protocol: bytes) -> None:
    # Java's HttpClient asks for h2c in each first request.
    body = b'{"id": "upgraded-%s"}' % protocol
    answer = api.ask(
        HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: %s\r\n"
        b"Content-Length: %d\r\n\r\n" % (protocol, len(body)) + body + b"GET /healthz HTTP/1.1\r\nHost: "
        b"127.0.0.1\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 201")
    assert answer.endswith(b'{"status":"ok"}')


def test_requests_that_are_sent_ahead_are_answered_in_order(api: Api) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = api.ask(one * 20 + one.replace(b"Host", b"Connection: close\r\nHost"))
    assert answer.count(b"200 OK") == 21


def test_requests_that_are_sent_ahead_without_end_are_not_all_held(api: Api) -> None:
    answer = api.ask(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3000)
    assert answer.count(b"200 OK") < 1000


def test_garbage_after_a_good_request_does_not_take_its_answer(api: Api) -> None:
    answer = api.ask(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n\x00\x01garbage\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
