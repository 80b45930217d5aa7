"""Connections that cost the server something have an end, and those that behave are answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

from app.launch.connections import ConnectionLimits, Connections
from app.launch.refusals import LEAST_BYTES_A_SECOND
from tests.launch.bare_api import HEAD, SLOW_SECONDS, TRACE, Api, problem_of, read_all, running, status_of
from tests.running import upload_pictures
from tests.waiting import wait_for

pytestmark = pytest.mark.integration


def seconds_until_closed(connection: socket.socket, send: Callable[[], None] = lambda: None) -> float:
    began = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - began < 30:
        try:
            send()
            if not connection.recv(2**16):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - began


def test_a_connection_on_which_nothing_comes_is_closed_without_a_word(api: Api) -> None:
    with api.connect() as connection:
        began = time.monotonic()
        assert read_all(connection) == b""
        assert SLOW_SECONDS / 2 < time.monotonic() - began < 5


@pytest.mark.parametrize("start", [b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"\r\n", b"G"])
def test_a_head_that_does_not_end_gets_408(api: Api, start: bytes) -> None:
    began = time.monotonic()
    answer = api.ask(start)
    assert time.monotonic() - began < 10
    assert status_of(answer) == 408
    assert problem_of(answer)["code"] == "slow_request"


def test_a_head_that_drips_is_not_waited_for(api: Api) -> None:
    with api.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert seconds_until_closed(connection, lambda: connection.sendall(b"X: y\r\n")) < 10


def test_a_second_head_that_does_not_end_gets_408(api: Api) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = api.ask(one + one + one[:-2])
    assert answer.count(b"200 OK") == 2
    assert answer.count(b"HTTP/1.1 408") == 1


@pytest.mark.parametrize(
    ("header", "drop"), [(b"Content-Length: 1000000", b"["), (b"Transfer-Encoding: chunked", b"1\r\n[\r\n")]
)
def test_a_body_that_drips_is_not_waited_for(api: Api, header: bytes, drop: bytes) -> None:
    with api.connect() as connection:
        connection.sendall(HEAD + header + b"\r\n\r\n")
        assert seconds_until_closed(connection, lambda: connection.sendall(drop)) < 10


def test_a_body_of_which_nothing_comes_gets_408(api: Api) -> None:
    assert status_of(api.ask(HEAD + b"Content-Length: 10\r\n\r\n")) == 408


def test_a_body_on_a_slow_but_honest_line_arrives(api: Api) -> None:
    body = json.dumps({"id": "honest"}).encode().ljust(5000)
    with api.connect() as connection:
        connection.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        step = LEAST_BYTES_A_SECOND // 2
        for at in range(0, len(body), step):
            connection.sendall(body[at : at + step])
            time.sleep(0.3)  # 1,667 bytes a second, for three times SLOW_SECONDS
        assert status_of(read_all(connection)) == 201


def test_a_client_that_waits_for_100_continue_is_not_slow(api: Api) -> None:
    body = b'{"id": "asked-first"}'
    with api.connect() as connection:
        head = HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head)
        assert status_of(connection.recv(2**16)) == 100
        connection.sendall(body)
        assert status_of(read_all(connection)) == 201


def test_a_refusal_is_read_also_while_the_body_is_sent(tmp_path: Path) -> None:
    with running(tmp_path, API_KEY="k" * 32) as api, api.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 4000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"x" * 4_000_000)
        connection.shutdown(socket.SHUT_WR)
        assert status_of(read_all(connection)) in (401, 413)


def test_after_a_refusal_a_body_without_end_is_not_read_for_ever(api: Api) -> None:
    with api.connect() as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert seconds_until_closed(connection, lambda: connection.sendall(b"400\r\n%1024d\r\n" % 0)) < 20


def test_a_client_that_does_not_read_its_answer_is_cut_off(api: Api) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", api.port))
        ours = connection.getsockname()[1]

        def is_open() -> bool:
            found = psutil.Process(api.process.pid).net_connections()
            return any(other.raddr and other.raddr.port == ours for other in found)

        connection.settimeout(1)
        # The kernel answers a connect before the server has taken the connection.
        wait_for(is_open, 10, "the connection")
        with contextlib.suppress(OSError):
            # More than both kernels hold, so that the server has to wait.
            for _ in range(100):
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                time.sleep(0.02)
        wait_for(lambda: not is_open(), 30, "the end of the connection")
    assert api.is_up()


def test_a_long_poll_whose_client_leaves_is_no_error(api: Api) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", timeout=60) as client:
        client.delete("/products/polled")
        job = upload_pictures(client, "polled")["job"]
    before = api.log.stat().st_size
    with api.connect() as connection:
        connection.sendall(b"GET /jobs/%s?wait=5 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % job.encode())
        time.sleep(0.5)
    time.sleep(2)
    assert api.is_up()
    assert "ERROR" not in since(api.log, before)


def test_the_log_names_the_client_that_a_trusted_proxy_names_and_no_other(api: Api) -> None:
    before = api.log.stat().st_size
    for forwarded in (b"203.0.113.9, 192.0.2.7", b"\xc2\x9b31mevil"):
        api.ask(
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: %s\r\n"
            b"Connection: close\r\n\r\n" % forwarded
        )
    seen = since(api.log, before)
    assert "192.0.2.7:0" in seen
    assert "127.0.0.1" in seen
    assert "evil" not in seen
    assert "203.0.113.9" not in seen


@pytest.mark.parametrize(
    "start",
    [
        HEAD + b"Content-Length: 1000\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1, 2",
        b"POST /products/left/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/zip\r\n"
        b"Content-Length: 100000\r\n\r\nPK",
        b"POST /products/left/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100000\r\n\r\n{",
        b"POST /products/left/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; "
        b'boundary=b\r\nContent-Length: 100000\r\n\r\n--b\r\nContent-Disposition: form-data; name="file"; '
        b'filename="a.zip"\r\n\r\nPK',
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
        b"Content-Length: 100000\r\n\r\n\x89PNG",
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 100000\r\n\r\n--b\r\nContent-Disposition: form-data; "
        b'name="file"; filename="a"\r\n\r\n',
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100000\r\n\r\n{",
        b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n"
        b"Content-Length: 100000\r\n\r\n{",
    ],
)
@pytest.mark.parametrize("is_reset", [False, True])
def test_a_client_that_leaves_is_no_error(api: Api, start: bytes, is_reset: bool) -> None:
    httpx.post(f"http://127.0.0.1:{api.port}/products", json={"id": "left"})
    before = api.log.stat().st_size
    with api.connect() as connection:
        connection.sendall(start)
        time.sleep(0.2)
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for(lambda: "left before" in since(api.log, before), 10, "the line of the request")
    assert "ERROR" not in since(api.log, before)


def since(log: Path, before: int) -> str:
    return log.read_bytes()[before:].decode("utf-8")


def test_with_few_files_and_many_half_open_connections_the_probe_is_answered(tmp_path: Path) -> None:
    opened = []
    with running(tmp_path, files=512, SLOW_SECONDS="3") as api, contextlib.ExitStack() as stack:
        for _ in range(600):
            connection = stack.enter_context(api.connect())
            opened.append(connection)
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        time.sleep(1.5)
        for _ in range(20):
            assert api.is_up()
        text = api.log.read_text(encoding="utf-8")
        assert len(text) < 2**14
        assert text.count("closed while idle") <= 1
        assert "at most 192 connections" in text


def test_a_client_beyond_its_bound_gets_503_and_the_others_do_not(tmp_path: Path) -> None:
    bounded = running(
        tmp_path, MAX_CONNECTIONS_PER_CLIENT="3", TRUSTED_PROXIES="127.0.0.9", SLOW_SECONDS="60"
    )
    with bounded as api, contextlib.ExitStack() as stack:

        def connect(source: str) -> socket.socket:
            connection = socket.create_connection(
                ("127.0.0.1", api.port), timeout=10, source_address=(source, 0)
            )
            return stack.enter_context(connection)

        for _ in range(3):
            # Under way: the body has not come.
            connect("127.0.0.2").sendall(HEAD + b"Content-Length: 10\r\n\r\n")
        time.sleep(0.5)
        refused = connect("127.0.0.2")
        refused.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = read_all(refused)
        assert status_of(answer) == 503
        assert b"retry-after" in answer.lower()
        assert problem_of(answer)["code"] == "too_many_connections"
        for source in ("127.0.0.3", "127.0.0.9", "127.0.0.9", "127.0.0.9", "127.0.0.9"):
            other = connect(source)
            other.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert status_of(other.recv(2**16)) == 200


def test_a_stop_does_not_wait_for_slow_connections(tmp_path: Path) -> None:
    with running(tmp_path, SLOW_SECONDS="600") as api, contextlib.ExitStack() as stack:
        for start in (b"", b"GET /healthz HT", HEAD + b"Content-Length: 10\r\n\r\n"):
            stack.enter_context(api.connect()).sendall(start)
        time.sleep(0.3)
        began = time.monotonic()
        api.process.send_signal(signal.SIGTERM)
        api.process.wait(20)
        assert time.monotonic() - began < 10
        assert TRACE not in api.log.read_text(encoding="utf-8")


def test_each_network_of_ipv6_is_one_client_and_a_proxy_is_none() -> None:
    @dataclass(eq=False)
    class Opened:
        client: tuple[str, int] | None
        idle_since: float | None = None
        is_closed: bool = False

        def look(self, elapsed: float) -> None: ...

        def close_now(self) -> None:
            self.is_closed = True

    async def count() -> list[bool]:
        connections = Connections(ConnectionLimits(100, 2, 20, "10.0.0.0/8"))
        hosts = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", *3 * ["10.1.2.3"]]
        return [connections.add(Opened((host, 1))) for host in hosts]

    assert asyncio.run(count()) == [True, True, False, True, True, True, True]


def test_a_connection_that_cannot_be_looked_at_does_not_end_the_limits_of_others() -> None:
    @dataclass(eq=False)
    class Opened:
        fails: bool
        client: tuple[str, int] | None = None
        idle_since: float | None = None
        looks: int = 0
        seconds: float = 0.0
        is_closed: bool = False

        def look(self, elapsed: float) -> None:
            self.looks += 1
            self.seconds += elapsed
            if self.fails:
                raise RuntimeError("its transport is gone")

        def close_now(self) -> None:
            self.is_closed = True

    async def watch() -> tuple[Opened, Opened]:
        connections = Connections(ConnectionLimits(100, 0, 0.04, ""))
        failing, sound = Opened(fails=True), Opened(fails=False)
        connections.add(failing)
        connections.add(sound)
        await asyncio.sleep(0.3)
        connections.remove(sound)
        return failing, sound

    failing, sound = asyncio.run(watch())
    assert (failing.looks, failing.is_closed) == (1, True)
    assert sound.looks > 3
    assert sound.seconds > 0
    assert not sound.is_closed


def test_a_flood_of_requests_shares_the_lines_of_the_log(api: Api) -> None:
    before = api.log.stat().st_size
    threads = [threading.Thread(target=api.ask, args=(b"\x00",)) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.log.stat().st_size - before < 2**12


def test_hundreds_of_followers_of_a_large_log_do_not_hold_up_short_requests(tmp_path: Path) -> None:
    with running(tmp_path) as api, contextlib.ExitStack() as stack:
        with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", timeout=60) as client:
            job = upload_pictures(client, "followed")["job"]
        log = tmp_path / "home/jobs" / job / "logs/0001/training_result.log"
        log.parent.mkdir(parents=True)
        log.write_bytes(b"a line of a log that is long\n" * 500_000)
        before = psutil.Process(api.process.pid).memory_info().rss
        followers = [stack.enter_context(api.connect()) for _ in range(200)]
        for index, follower in enumerate(followers):
            what = b"logs/training_result.log?follow=true&tail=1" if index % 2 else b"events"
            follower.sendall(
                b"GET /jobs/%s/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
                % (job.encode(), what)
            )
        wait_for(api.is_up, 30, "an answer after so many requests at once")
        answered = []
        for _ in range(11):
            began = time.monotonic()
            httpx.get(f"http://127.0.0.1:{api.port}/healthz", timeout=20).raise_for_status()
            answered.append(time.monotonic() - began)
        assert sorted(answered)[5] < 2
        assert psutil.Process(api.process.pid).memory_info().rss - before < 200 * 2**20
        for follower in followers:
            follower.close()
        time.sleep(1)
        text = api.log.read_text(encoding="utf-8")
        assert TRACE not in text
        assert "ERROR" not in text
