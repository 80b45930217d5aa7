"""Requests to addresses that clients name: whom they reach, and that no answer holds them up."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.errors import AddressRefusedError
from app.host.outgoing import Answer, Destination, NoAnswerError, Reach, find_addresses, look_up, post
from tests.receivers import receiving

HERE = Reach(("127.0.0.1", "hook.test", "*.inner.test"))

FORMS_OF_LOOPBACK = (
    *("http://127.0.0.1/", "http://127.0.0.1:8000/", "http://[::1]/", "http://[::ffff:127.0.0.1]/"),
    *("http://[::ffff:7f00:1]/", "http://[64:ff9b::127.0.0.1]/", "http://[2002:7f00:1::]/"),
    *("http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://127.1/"),
    *("http://127.0.0.01/", "http://017700000001/", "http://0/", "http://0x/", "http://1.2.3.4.5/"),
    *("http://localhost/", "http://LOCALHOST/", "http://localhost./", "http://127.0.0.1./"),
    *("http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://%31%32%37.0.0.1/", "http://[::1%25lo]/"),
    *("http://user@127.0.0.1/", "http://hook.example@127.0.0.1/", "http://127.0.0.1\\@hook.example/"),
    *("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://10.0.0.1/", "http://[::]/"),
)  # fmt: skip
NO_URLS = (
    *("", "hook.example", "//hook.example/", "ftp://hook.example/", "file:///etc/passwd", "http://"),
    *("http:///x", "http:/hook.example/", "https:hook.example"),
    *("http://hook.example:0/", "http://hook.example:99999/", "http://hook.example:x/"),
    *("http://hook.example/#x", "http://u:p@hook.example/", "http://[::1/", "http://a..b/", "http://-a.b/"),
    *("http://hook example/", "http://[2606:4700::1%25lo]/", "http://[2606:4700::1%lo]/"),
    *("http://hook.example/a b", "http://hook.example/\r\nHost: x", "http://hook.example\x00/", "gopher://a/"),
    f"http://{'a' * 64}.example/",
)  # fmt: skip


@pytest.mark.parametrize("url", FORMS_OF_LOOPBACK)
def test_no_form_of_an_inner_address_is_reached_unless_its_host_is_named(url: str) -> None:
    for reach in (Reach(), Reach(("*",)), Reach(("*.example", "*"))):
        with pytest.raises(AddressRefusedError) as refused:
            find_addresses(Destination.of(url), reach, seconds=5)
        assert refused.value.hint


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(AddressRefusedError):
        Destination.of(url)


def test_a_url_is_taken_apart_as_it_is_written() -> None:
    assert Destination.of("https://Hook.Example/a%20b?c=d") == Destination(
        "https", "hook.example", 443, "/a%20b?c=d"
    )
    assert Destination.of("http://[2001:DB8:0::1]:8080") == Destination("http", "2001:db8::1", 8080, "/")


def test_with_a_list_only_hosts_on_it_are_reached_and_they_may_be_private() -> None:
    names = {"a.inner.test": ["10.0.0.5"], "inner.test": ["10.0.0.5"], "out.test": ["8.8.8.8"]}

    def find(name: str) -> list[str]:
        found = find_addresses(
            Destination("http", name, 80, "/"), HERE, seconds=1, resolve=lambda host, _: names[host]
        )
        return [str(address) for address in found]

    assert find("a.inner.test") == ["10.0.0.5"]
    for name in ("inner.test", "out.test"):
        with pytest.raises(AddressRefusedError, match="not one that webhooks may be sent to"):
            find(name)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "0.0.0.0", "fd00:ec2::254"])
def test_a_host_that_is_named_is_not_reached_where_nothing_is_ever_meant(address: str) -> None:
    with pytest.raises(AddressRefusedError, match="no webhook may be sent to"):
        find_addresses(
            Destination("http", "hook.test", 80, "/"), HERE, seconds=1, resolve=lambda *_: [address]
        )


def test_one_inner_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(AddressRefusedError, match=r"10\.0\.0\.1, which is not a public address"):
        find_addresses(
            Destination("http", "out.test", 80, "/"),
            Reach(),
            seconds=1,
            resolve=lambda *_: ["8.8.8.8", "10.0.0.1"],
        )


def send(url: str, reach: Reach = HERE, *, seconds: float = 5.0, **more: Any) -> Answer:
    return post(Destination.of(url), reach, {}, b"{}", seconds=seconds, **more)


def test_the_request_goes_to_the_address_that_was_checked_whatever_the_name_becomes() -> None:
    """A name that is public when it is checked and inner when it is connected to, or the reverse."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]])
    asked: list[str] = []

    def changing(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    with receiving() as receiver:
        port = urlsplit(receiver.url).port
        url = f"http://hook.test:{port}/hook"
        assert send(url, resolve=changing).status == 204
        assert receiver.messages[0].headers["host"] == f"hook.test:{port}"
        with pytest.raises(AddressRefusedError):
            send(url, resolve=changing)
        assert send(url, resolve=changing).status == 204
    assert asked == ["hook.test"] * 3
    assert len(receiver.messages) == 2


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with receiving() as receiver:
        receiver.answer_with(302, Location="http://169.254.169.254/latest/meta-data/")
        assert send(receiver.url).status == 302
        receiver.answer_with(307, Location=receiver.url)
        assert send(receiver.url).status == 307
    assert len(receiver.messages) == 2


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert send(receiver.url).status == 204
    assert proxy.messages == []


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    with receiving() as receiver:
        url = f"http://hook.test:{urlsplit(receiver.url).port}/"
        assert send(url, resolve=lambda *_: ["::1", "127.0.0.1"]).status == 204


@contextmanager
def dripping(text: bytes, seconds: float = 0.1) -> Iterator[str]:
    """A server that sends a byte at a time, for ever: the last one again and again."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for index in range(10_000):
                if ended.wait(seconds):
                    return
                try:
                    connection.send(text[min(index, len(text) - 1) :][:1])
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"//127.0.0.1:{listener.getsockname()[1]}/"
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nX: y",
        b"HTTP/1.1 200 OK\r\n\r\nbody",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 400,
        b"\n",
    ],
    ids=["headers", "body", "continue", "nothing"],
)
def test_a_byte_now_and_then_does_not_prolong_an_answer(text: bytes) -> None:
    with dripping(text, 0.002) as address:
        began = time.monotonic()
        with pytest.raises(NoAnswerError):
            send(f"http:{address}", seconds=1.0)
    assert time.monotonic() - began < 2


def test_a_handshake_does_not_either() -> None:
    with dripping(b"\x16\x03\x03\x40\x00") as address:
        began = time.monotonic()
        with pytest.raises(NoAnswerError):
            send(f"https:{address}", seconds=1.0)
    assert time.monotonic() - began < 2


def test_a_lookup_that_hangs_does_not_either() -> None:
    hangs = threading.Event()

    def resolve(*_: object) -> list[str]:
        hangs.wait(30)
        return []

    began = time.monotonic()
    with pytest.raises(NoAnswerError, match="took too long"):
        send("http://hook.test/", seconds=0.5, resolve=resolve)
    assert time.monotonic() - began < 2
    hangs.set()


def test_only_the_beginning_of_an_answer_is_read() -> None:
    with receiving() as receiver:
        receiver.answer_with(500, b"x" * 2**20)
        assert send(receiver.url).text == "x" * 4096


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b""])
def test_what_is_no_answer_of_http_is_said(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NoAnswerError, match=r"not HTTP|connection broke"):
            send(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()


def test_a_port_where_nobody_listens_and_a_name_that_is_not_there_are_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NoAnswerError, match="Could not connect"):
        send(f"http://127.0.0.1:{port}/")
    with pytest.raises(NoAnswerError, match="cannot be looked up"):
        send("http://no-such-name.inner.test/")
    with pytest.raises(OSError, match="label"):
        look_up("a" * 300, 80)


def test_the_certificate_must_be_for_the_name_also_where_the_address_was_chosen(tmp_path: Path) -> None:
    trusted, serving = certificate(tmp_path, "hook.test")
    with receiving(serving) as receiver:
        port = urlsplit(receiver.url).port
        there: dict[str, Any] = {"resolve": lambda *_: ["127.0.0.1"], "ssl_context": trusted}
        assert send(f"https://hook.test:{port}/", **there).status == 204
        with pytest.raises(NoAnswerError, match="certificate"):
            send(f"https://other.inner.test:{port}/", **there)
        with pytest.raises(NoAnswerError, match="certificate"):
            send(f"https://hook.test:{port}/", resolve=lambda *_: ["127.0.0.1"])
    assert len(receiver.messages) == 1


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate for ``name`` that signs itself: who trusts it, and who shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    return ssl.create_default_context(cafile=os.fspath(file)), serving
