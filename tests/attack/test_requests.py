"""What a stranger, a web page and a careless client can send."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.api.operations import OPERATIONS
from tests.attack.conftest import Attacks, Watch
from tests.conftest import Service
from tests.waiting import wait_for

pytestmark = [pytest.mark.integration]

SAFE = ("GET", "HEAD", "OPTIONS")
PROBE_SECONDS = 5.0
INFER = "/v2/models/squares/infer"
MIB = 2**20


def connect(service: Service) -> socket.socket:
    host, _, port = service.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def log_bytes(service: Service) -> int:
    return (service.home.parent / f"{service.home.name}-up.log").stat().st_size


def is_full_size(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--attack"))


@pytest.fixture
def http(victim: Service) -> Iterator[httpx.Client]:
    with victim.client() as client:
        yield client


def test_a_page_of_another_site_changes_nothing(http: httpx.Client, attacks: Attacks) -> None:
    pages = (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Mode": "no-cors"},
    )
    unsafe = [one for one in OPERATIONS if one.method not in SAFE]
    answers = [
        http.request(one.method, one.url, headers=page).status_code for one in unsafe for page in pages
    ]
    assert set(answers) == {403}
    attacks.held("requests of another site's page, each unsafe route", "403", f"{len(answers)} times 403")


def test_a_name_that_somebody_points_here_is_not_answered(http: httpx.Client, attacks: Attacks) -> None:
    hosts = ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", "0x7f.1")
    answers = [
        http.request(one.method, one.url, headers={"Host": host}).status_code
        for one in OPERATIONS
        for host in hosts
    ]
    assert set(answers) <= {400, 403}
    attacks.held("foreign or odd Host, each route", "403 or 400", f"{len(answers)} times")


def test_a_body_of_terabytes_is_refused_by_its_head(victim: Service, attacks: Attacks) -> None:
    with Watch(victim) as watch:
        for kind in ("application/json", "multipart/form-data; boundary=x", "image/png"):
            for path in ("/products/squares/datasets", "/predict", INFER, "/jobs", "/products"):
                with connect(victim) as connection:
                    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
                    connection.sendall(f"{head}Content-Length: {2**45}\r\n\r\n".encode())
                    status = int(connection.recv(100).split()[1])
                assert status in (413, 415), (path, kind, status)
    assert watch.grown_mib < 50
    attacks.held("bodies of 32 TiB by their head", "413 or 415; 50 MiB", f"{watch.grown_mib:.0f} MiB")


def test_json_without_an_end_takes_no_memory(victim: Service, attacks: Attacks) -> None:
    def send(path: str) -> None:
        with connect(victim) as connection, contextlib.suppress(OSError):
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
            for _ in range(200):
                connection.sendall(chunk)

    with Watch(victim) as watch, ThreadPoolExecutor(8) as pool:
        list(pool.map(send, ["/products/squares/datasets", "/jobs", "/predict", INFER] * 2))
    assert watch.grown_mib < 600
    attacks.held("8 JSON bodies of 200 MB, chunked", "600 MiB", f"{watch.grown_mib:.0f} MiB")


def test_what_no_parser_should_see_is_answered_in_words(http: httpx.Client, attacks: Attacks) -> None:
    bodies = (
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"product": "squares", "hyperparameters": {"warmup_epochs": 1e400}}',
        b'{"product": "squares", "hyperparameters": {"epochs": ' + b"9" * 5000 + b"}}",
        b'{"product": "squares", "hyperparameters": {"class_weights": {"a": NaN}}}',
        b'{"product": "\\u0000"}',
        b'{"product": "\\ud800"}',
        b"\xff\xfe\x00",
        b"",
    )
    statuses = []
    for body in bodies:
        for path in ("/jobs", "/products", "/predict", INFER, "/webhooks", "/api-keys"):
            answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.headers["Content-Type"] == "application/problem+json", answer.text
            statuses.append(answer.status_code)
    queries = ("since=9223372036854775808", "limit=" + "9" * 5000, "after=" + "A" * 5000, "wait=1e400")
    statuses += [http.get(f"/jobs?{query}").status_code for query in queries]
    assert set(statuses) <= {400, 404, 409, 413, 415, 422}
    attacks.held("JSON and queries that break parsers", "4xx, a problem document", f"{len(statuses)} answers")


def test_half_open_connections_leave_room_for_others(
    victim: Service, attacks: Attacks, request: pytest.FixtureRequest
) -> None:
    count, before = 1100 if is_full_size(request) else 150, log_bytes(victim)
    with contextlib.ExitStack() as closing, Watch(victim) as watch:
        for _ in range(count):
            with contextlib.suppress(OSError):
                connection = closing.enter_context(connect(victim))
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127")
        time.sleep(3)
    grown = (log_bytes(victim) - before) / 1000
    assert watch.failed == []
    assert max(watch.slowest.values()) < PROBE_SECONDS
    assert grown < 100
    attacks.held(
        f"{count} half-open connections",
        f"probes {PROBE_SECONDS:g} s, log 100 kB",
        f"{max(watch.slowest.values()):.2f} s, {grown:.1f} kB, {watch.grown_mib:.0f} MiB",
    )


def test_a_head_that_never_ends_is_cut_off(victim: Service, attacks: Attacks) -> None:
    with connect(victim) as connection:
        connection.settimeout(60)
        began = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ")

        def drip() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection.sendall(b"a")
                    time.sleep(0.5)

        threading.Thread(target=drip, daemon=True).start()
        with contextlib.suppress(OSError):
            while connection.recv(1000):
                pass
        seconds = time.monotonic() - began
    assert seconds < 30
    attacks.held(
        "a head that comes byte by byte", "LOUPE_SLOW_SECONDS (20 s)", f"closed after {seconds:.0f} s"
    )


def test_many_long_polls_and_streams_hold_up_nobody(
    victim: Service, attacks: Attacks, request: pytest.FixtureRequest
) -> None:
    count = 400 if is_full_size(request) else 40
    with victim.client() as http:
        job = http.get("/jobs?limit=1").json()["data"][0]["id"]
    paths = [f"/jobs/{job}?wait=5", f"/jobs/{job}/events"]
    with contextlib.ExitStack() as closing, Watch(victim) as watch:
        for index in range(count):
            with contextlib.suppress(OSError):
                connection = closing.enter_context(connect(victim))
                head = (
                    f"GET {paths[index % 2]} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
                )
                connection.sendall(head.encode())
        time.sleep(4)
    assert watch.failed == []
    assert max(watch.slowest.values()) < PROBE_SECONDS
    attacks.held(
        f"{count} long polls and event streams",
        f"probes {PROBE_SECONDS:g} s",
        f"{max(watch.slowest.values()):.2f} s, {watch.grown_mib:.0f} MiB",
    )


def test_a_log_line_is_one_line_whatever_is_sent(
    victim: Service, http: httpx.Client, attacks: Attacks
) -> None:
    before = log_bytes(victim)
    for path in ("/a%0aFAKE%20RECORD", "/%1b[31mred", "/" + "x" * 5000):
        http.get(path)
    for name in ("Referer", "User-Agent", "X-Request-Id", "X-Forwarded-For"):
        http.get("/nothing", headers={name: "a\tFAKE RECORD \x7f"})
    log = (victim.home.parent / f"{victim.home.name}-up.log").read_bytes()[before:]
    assert not [line for line in log.splitlines() if line.startswith(b"FAKE")]
    assert not set(log) & (set(range(32)) - {9, 10})
    assert len(log) < 60_000
    attacks.held("control characters in paths and headers", "none in the log", f"{len(log)} bytes of log")


def archive(kind: str, entries: dict[str, bytes | str]) -> bytes:
    """Bytes are files, texts are links to what they say."""
    output = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in entries.items():
                packed.writestr(name, content)
        return output.getvalue()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return output.getvalue()


def chained_headers(count: int) -> bytes:
    """Each says that the name of the next one is long; Python's tarfile calls itself for each."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 512
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(header, io.BytesIO(b"a" * 512))
    return output.getvalue()[:1024] * count


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a zip whose entries climb out": lambda: archive("zip", {"../../a/1.png": b"x", "b/1.png": b"y"}),
    "a zip with absolute names": lambda: archive("zip", {"/etc/cron.d/a": b"x"}),
    "a tar with links out": lambda: archive("tar", {"a": "/etc", "a/passwd": b"x"}),
    "a zip that unpacks to 1 GB of zeros": lambda: archive("zip", {"a/1.png": bytes(10**9)}),
    "a zip in a zip in a zip": lambda: archive("zip", {"a/b.zip": archive("zip", {"c.zip": b"PK"})}),
    "a tar of chained headers": lambda: chained_headers(5000),
    "no archive": lambda: b"GIF89a" + bytes(1000),
}


def test_a_hostile_archive_ends_as_an_error_with_a_reason(
    victim: Service, http: httpx.Client, attacks: Attacks
) -> None:
    outside = {path: path.stat().st_mtime_ns for path in (Path("/etc"), Path("/etc/cron.d")) if path.exists()}
    with Watch(victim) as watch:
        for name, make in HOSTILE.items():
            files = {"file": ("a.zip", make())}
            answer = http.post("/products/squares/datasets", files=files)
            if answer.status_code == 202:
                dataset = answer.json()["id"]

                def has_ended(dataset: str = dataset) -> bool:
                    return bool(http.get(f"/datasets/{dataset}").json()["status"] != "importing")

                wait_for(has_ended, 120, name)
                found = http.get(f"/datasets/{dataset}").json()
                assert found["status"] == "failed", (name, found)
                assert found["error"]["detail"], name
                assert not found["error"]["retryable"], (name, found["error"])
            else:
                assert answer.status_code in (413, 415, 422), (name, answer.text)
    assert {path: path.stat().st_mtime_ns for path in outside} == outside
    assert watch.grown_mib < 300
    attacks.held(
        f"{len(HOSTILE)} hostile archives", "an error, not retryable; 300 MiB", f"{watch.grown_mib:.0f} MiB"
    )


def test_a_folder_out_of_the_roots_is_not_imported(http: httpx.Client, attacks: Attacks) -> None:
    paths = (
        "/etc",
        "/../etc",
        "~root",
        "~nosuchuser",
        "/proc/self",
        "a" * 5000,
        "/a\u0000b",
        "",
        ".",
        "//etc",
    )
    for path in paths:
        answer = http.post(
            "/products/squares/datasets",
            content=json.dumps({"path": path}),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (403, 404, 422), (path, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"
    attacks.held("folders that no root allows", "4xx", f"{len(paths)} refused")
