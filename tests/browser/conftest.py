"""A real Chromium on a real Loupe. Whatever a page does wrong unseen fails the test that opened it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, ViewportSize, expect, sync_playwright

from docs.generate import ROOT
from tests.conftest import Service
from tests.running import TINY, upload_pictures
from tests.waiting import wait_for

NAMES = ("chromium", "chromium-browser", "google-chrome")
AXE = ROOT / "ui" / "node_modules" / "axe-core" / "axe.min.js"
WIDE, MIDDLE, NARROW = (
    ViewportSize(width=width, height=height) for width, height in ((1280, 900), (820, 1100), (400, 800))
)

Open = Callable[..., Page]

# A page waits for a server that shares its processor with trainings.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        message = "Chromium is not installed: no page was opened (Debian: apt-get install chromium)"
        if request.config.getoption("--require-browser"):
            pytest.fail(message)
        pytest.skip(message)
    # While it is open the thread has a running loop, in which no other test could run one: so not longer.
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to run as root, which CI is.
        chromium = playwright.chromium.launch(
            executable_path=program, chromium_sandbox=os.geteuid() != 0, args=["--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, service: Service) -> Iterator[Open]:
    """``open_page("/ui")``: a page in a browser of its own, whose console and requests are watched.

    ``service``: another Loupe. ``expected``: a pattern of console lines that the test provokes.
    """
    opened: list[tuple[Any, list[str], re.Pattern[str] | None]] = []

    def open_page(
        path: str, *, service: Service = service, expected: str | None = None, **options: Any
    ) -> Page:
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        context.set_default_timeout(20_000)
        faults: list[str] = []
        host = urlsplit(service.url).netloc

        def see_line(line: ConsoleMessage) -> None:
            if line.type in ("error", "warning"):
                faults.append(f"console: {line.text}")

        def see_request(one: Request) -> None:
            if not one.url.startswith(("data:", "blob:")) and urlsplit(one.url).netloc != host:
                faults.append(f"request beyond the server: {one.url}")

        context.on("console", see_line)
        context.on("weberror", lambda error: faults.append(f"exception: {error.error}"))
        context.on("request", see_request)
        opened.append((context, faults, re.compile(expected) if expected else None))
        page = context.new_page()
        page.goto(service.url + path)
        return page

    yield open_page
    found: list[str] = []
    for context, faults, expected in opened:
        context.close()
        found += [fault for fault in faults if expected is None or not expected.search(fault)]
    assert found == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which is no part of the pages."""
    subprocess.run([sys.executable, str(ROOT / "ui" / "build.py"), "--tools"], check=True)
    return AXE.read_text(encoding="utf-8")


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """``show(page, name)``: nothing is wider than the window, and a picture is kept if wanted."""
    folder: Path | None = request.config.getoption("--shots")

    def show(page: Page, name: str) -> None:
        expect(page.locator(".skeleton")).to_have_count(0)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder / f"{name}.png", full_page=True)
        width, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= shown, f"{name}: {width} pixels wide in a window of {shown}"

    return show


@pytest.fixture
def examine(axe: str) -> Callable[[Page], None]:
    """``examine(page)``: axe-core finds nothing."""

    def examine(page: Page) -> None:
        page.evaluate(axe)
        result = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice']})")
        violations = [
            f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']][:3]}"
            for one in result["violations"]
        ]
        assert violations == []

    return examine


@pytest.fixture(scope="session")
def squares(service: Service) -> str:
    """The job of a training that made the product ``squares`` a champion."""
    with service.client() as client:
        dataset = upload_pictures(client, "squares", name="Coloured squares")
        wait_for(
            lambda: client.get(f"/datasets/{dataset['id']}").json()["status"] == "ready", 60, "the import"
        )
        body = {"product": "squares", "network": "tiny_cnn", "hyperparameters": TINY}
        job: str = client.post("/jobs", json=body).raise_for_status().json()["id"]
        # Shorter than the client's patience: a machine that is busy takes longer.
        while (ended := client.get(f"/jobs/{job}?wait=20").json())["status"] in ("queued", "running"):
            pass
        assert ended["status"] == "succeeded", ended["error"]
    return job


@pytest.fixture(scope="session")
def sweep(service: Service, squares: str) -> str:
    """A sweep of ``squares`` that was cancelled before it took time."""
    with service.client() as client:
        product = client.get(f"/jobs/{squares}").json()["product"]
        body = {"product": product, "networks": ["tiny_cnn"], "hyperparameters": TINY}
        found: str = client.post("/sweeps", json=body).raise_for_status().json()["id"]
        client.post(f"/sweeps/{found}/cancel").raise_for_status()
        wait_for(
            lambda: client.get(f"/sweeps/{found}").json()["status"] == "cancelled", 60, "the sweep's end"
        )
    return found
