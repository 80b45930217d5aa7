"""Behind the Caddy of `docs/deploy.md`, word for word, with TLS by a certificate authority of Caddy's own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from docs.generate import ROOT
from tests.pictures import make_files, make_zip
from tests.ports import free_port
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("caddy") is None, reason="no caddy on this machine"),
]

HOST, KEY, BROWSER = "loupe.example", "k" * 40, "127.0.0.2"
MIB = 2**20


@dataclass(frozen=True)
class Proxied:
    """A Loupe with a key, and the Caddy before it."""

    port: int
    log: Path
    api: psutil.Process
    caddy: psutil.Process
    trust: ssl.SSLContext

    @property
    def origin(self) -> str:
        return f"https://{HOST}:{self.port}"

    def client(self, verify: ssl.SSLContext | bool | None = None) -> httpx.Client:
        """A client on another address than Caddy's, which resolves the name by itself."""
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"Host": f"{HOST}:{self.port}", "Authorization": f"Bearer {KEY}"},
            transport=httpx.HTTPTransport(
                verify=self.trust if verify is None else verify, local_address=BROWSER
            ),
            timeout=60,
        )

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


def ask(client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
    return client.request(method, path, extensions={"sni_hostname": HOST}, **more)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("caddy")
    home, port, https, http = folder / "home", free_port(), free_port(), free_port()
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    [site] = re.findall(r"^Caddy, .*?^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    options = f"admin off\nlocal_certs\nskip_install_trust\nhttp_port {http}\nhttps_port {https}"
    caddyfile = folder / "Caddyfile"
    caddyfile.write_text(f"{{\n{options}\n}}\n" + site.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOUPE_")}
    ours = {
        "LOUPE_HOME": str(home),
        "LOUPE_PORT": str(port),
        "LOUPE_API_KEY": KEY,
        "LOUPE_LOG_FORMAT": "json",
        "LOUPE_MAX_PREDICT_BYTES": str(MIB),
    }
    python = [sys.executable, "-m"]
    subprocess.run([*python, "app.cli", "migrate"], env={**environment, **ours}, check=True)
    log = folder / "api.log"
    with log.open("wb") as api_log, (folder / "caddy.log").open("wb") as caddy_log:
        api = subprocess.Popen([*python, "app.launch.api"], env={**environment, **ours}, stderr=api_log)
        caddy = subprocess.Popen(
            ["caddy", "run", "--adapter", "caddyfile", "--config", str(caddyfile)],
            env={**environment, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
            stderr=caddy_log,
        )
    try:
        root = folder / "caddy/pki/authorities/local/root.crt"
        wait_for(root.exists, 60, "Caddy's certificate", alive=lambda: caddy.poll() is None)
        trust = ssl.create_default_context(cafile=str(root))
        found = Proxied(https, log, psutil.Process(api.pid), psutil.Process(caddy.pid), trust)
        wait_for(lambda: is_ready(found), 60, "Loupe behind Caddy", alive=lambda: api.poll() is None)
        yield found
    finally:
        for process in (caddy, api):
            process.terminate()
            process.wait(30)


def is_ready(proxied: Proxied) -> bool:
    try:
        with proxied.client() as client:
            return ask(client, "GET", "/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def client(proxied: Proxied) -> Iterator[httpx.Client]:
    with proxied.client() as client:
        yield client


def test_who_does_not_trust_its_authority_is_not_connected(proxied: Proxied) -> None:
    with proxied.client(ssl.create_default_context()) as client, pytest.raises(httpx.ConnectError):
        ask(client, "GET", "/readyz")


def test_loupe_learns_the_client_the_host_and_the_scheme(proxied: Proxied, client: httpx.Client) -> None:
    made = ask(client, "POST", "/products", json={"id": "own"}, headers={"Origin": proxied.origin})
    assert made.status_code == 201, made.text
    for stranger in ("https://evil.example", f"http://{HOST}:{proxied.port}"):
        refused = ask(client, "POST", "/products", json={"id": "x"}, headers={"Origin": stranger})
        assert (refused.status_code, refused.json()["code"]) == (403, "foreign_site")
    request = made.headers["x-request-id"]
    [line] = [line for line in proxied.logged() if line.get("request_id") == request and "path" in line]
    assert line["client"].startswith(BROWSER), line


def test_a_client_cannot_speak_for_the_proxy(proxied: Proxied, client: httpx.Client) -> None:
    lies = {
        "X-Forwarded-For": "198.51.100.7",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Proto": "http",
    }
    headers = {**lies, "Origin": proxied.origin}
    made = ask(client, "POST", "/products", json={"id": "lies"}, headers=headers)
    assert (made.status_code, made.headers["location"]) == (201, "/products/lies")
    headers["Origin"] = "http://evil.example"
    assert ask(client, "POST", "/products", json={"id": "lies2"}, headers=headers).status_code == 403
    assert "198.51.100.7" not in proxied.log.read_text()


def test_an_upload_arrives_while_it_is_sent(proxied: Proxied, client: httpx.Client) -> None:
    """It is kept neither in Caddy's memory nor on its disk."""
    ask(client, "POST", "/products", json={"id": "large"}).raise_for_status()
    archive = make_zip({**make_files(), "notes.txt": secrets.token_bytes(96 * MIB)})
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
    before = proxied.caddy.memory_info().rss
    seen = 0

    def arrived() -> int:
        """The size of the file that Loupe keeps it in, which has no name yet."""
        sizes = [0]
        for descriptor in Path(f"/proc/{proxied.api.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                sizes.append(descriptor.stat().st_size)
        return max(sizes)

    def body() -> Iterator[bytes]:
        nonlocal seen
        yield head
        for start in range(0, len(archive), MIB):
            if start == 64 * MIB:
                seen = wait_for(lambda: arrived() > 32 * MIB and arrived(), 30, "the part that was sent")
            yield archive[start : start + MIB]
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = ask(client, "POST", "/products/large/datasets", content=body(), headers=headers)
    assert answer.status_code == 202, answer.text
    assert seen > 32 * MIB
    assert proxied.caddy.memory_info().rss - before < 32 * MIB


def test_events_arrive_as_they_happen(client: httpx.Client, proxied: Proxied) -> None:
    ask(client, "POST", "/products", json={"id": "events"}).raise_for_status()
    files = {"file": ("a.zip", make_zip(make_files()))}
    job = ask(client, "POST", "/products/events/datasets", files=files).raise_for_status().json()["job"]
    follow = {"Accept": "text/event-stream"}
    with (
        proxied.client() as other,
        client.stream(
            "GET", f"/jobs/{job}/events", headers=follow, extensions={"sni_hostname": HOST}, timeout=10
        ) as stream,
    ):
        lines = (line for line in stream.iter_lines() if line.startswith("event:"))
        first = next(lines)  # no worker runs: nothing more happens until somebody cancels
        ask(other, "POST", f"/jobs/{job}/cancel").raise_for_status()
        assert next(lines), first


@pytest.mark.parametrize("how", ["with its length", "in chunks"])
def test_a_body_that_is_too_large_is_answered(client: httpx.Client, how: str) -> None:
    large = b'{"id": "' + b"x" * 3 * MIB + b'"}'
    content: Any = (
        large if how == "with its length" else (large[i : i + 65536] for i in range(0, len(large), 65536))
    )
    headers = {"Content-Type": "application/json"}
    assert ask(client, "POST", "/products", content=content, headers=headers).status_code == 413


def test_loupes_own_refusal_of_a_body_arrives(client: httpx.Client) -> None:
    files = {"file": ("a.png", secrets.token_bytes(8 * MIB))}
    refused = ask(client, "POST", "/predict", files=files, data={"product": "own"})
    assert (refused.status_code, refused.headers["content-type"]) == (413, "application/problem+json")
