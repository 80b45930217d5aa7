"""A web page in a real browser that tries to reach a Loupe on loopback: Debian's Chromium, if it is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.attack.conftest import Attacks
from tests.conftest import Service

pytestmark = [pytest.mark.integration]

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
PAGE = """<!DOCTYPE html><title>evil</title><p id="seen">nothing yet</p>
<form id="form" method="post" enctype="multipart/form-data" target="frame"
  action="{loupe}/products/squares/datasets">
<input name="file" value="x"></form><iframe name="frame"></iframe>
<form id="plain" method="post" enctype="text/plain" target="other" action="{loupe}/products">
<input name='{{"id": "formed", "name": "' value='"}}'></form><iframe name="other"></iframe>
<script>
const seen = [];
const json = {{"Content-Type": "application/json"}};
async function tries(what, url, options) {{
  try {{
    const answer = await fetch(url, options);
    seen.push(what + ":" + answer.status + ":" + (await answer.text()).slice(0, 200));
  }} catch (error) {{ seen.push(what + ":refused"); }}
}}
async function main() {{
  await tries("read", "{loupe}/products");
  await tries("json", "{loupe}/products", {{method: "POST", headers: json, body: '{{"id": "fetched"}}'}});
  await tries("blind", "{loupe}/products", {{method: "POST", mode: "no-cors", body: '{{"id": "blind"}}'}});
  await tries("delete", "{loupe}/products/squares?force=true", {{method: "DELETE"}});
  document.getElementById("form").submit();
  document.getElementById("plain").submit();
  await new Promise(done => setTimeout(done, 1500));
  document.getElementById("seen").textContent = seen.join(" | ");
}}
main();
</script>"""


@pytest.fixture
def evil(victim: Service) -> Iterator[str]:
    """A page of another site; the address of its server."""

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.format(loupe=victim.url).encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://evil.example:{server.server_port}"
    server.shutdown()
    server.server_close()


def visit(url: str, folder: Path) -> str:
    """The page as it is after its scripts ran; every name leads to this machine."""
    assert CHROMIUM is not None
    command = [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(f"--user-data-dir={folder}", "--host-resolver-rules=MAP *.example 127.0.0.1"),
        *("--virtual-time-budget=15000", "--timeout=20000", "--dump-dom", url),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_page_in_a_browser_reads_and_changes_nothing(
    victim: Service, attacks: Attacks, evil: str, tmp_path: Path
) -> None:
    with victim.client() as http:
        before = (http.get("/products").json(), http.get("/products/squares/datasets").json())
        seen = visit(evil, tmp_path / "evil")
        # The name of the page's own server, pointed at Loupe while the page is open.
        rebound = visit(f"http://rebound.example:{urlsplit(victim.url).port}/products", tmp_path / "rebound")
        after = (http.get("/products").json(), http.get("/products/squares/datasets").json())
    assert "read:refused" in seen, seen
    assert "json:refused" in seen
    assert "delete:refused" in seen
    assert "foreign_host" in rebound, rebound
    assert "squares" not in rebound.replace("/products/squares", "")
    assert before == after
    attacks.held("a page of another site in Chromium, DNS rebinding", "reads and changes nothing", "nothing")
