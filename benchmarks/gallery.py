"""What a gallery of many images costs the browser that shows it: ``make bench-gallery``.

A whole Loupe gets a dataset of tiny images. A real Chromium opens its page, goes from the first image to the
last by keyboard, jumps about, filters, and opens an image large. Measured are the elements of the page, its
JavaScript heap after a collection, requests, and the time from a key until each picture in the
window is drawn.

``--home FOLDER`` keeps the dataset there for the next run: its import takes minutes.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from socket import socket
from statistics import median

import httpx2 as httpx
import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Locator, Page, ViewportSize, sync_playwright
from rich.console import Console
from rich.table import Table

PRODUCT = "gallery"
CLASSES = 10
SIDE = 24
"""Of an image, in pixels."""
PAGES_DOWN, JUMPS, STEPS = 100, 20, 200
WINDOW = ViewportSize(width=1280, height=900)
PATIENCE_SECONDS = 60
COLUMNS = (
    "drawn after, ms",
    "elements",
    "pictures held",
    "heap, MB",
    "lists asked for",
    "pictures asked for",
)
SEEN = """(place) => {
  const box = document.querySelector('.gallery');
  if (!box) return false;
  const window = box.getBoundingClientRect();
  const inside = [...box.querySelectorAll('.tile')].filter((tile) => {
    const {top, bottom} = tile.getBoundingClientRect();
    return bottom > window.top + 1 && top < window.bottom - 1;
  });
  return inside.length > 0 && (place === null || inside.some((tile) => tile.id === `image-${place}`))
    && inside.every((tile) => {
      const image = tile.querySelector('img');
      return image && image.complete && image.naturalWidth > 0;
    });
}"""
"""Whether each picture in the window is drawn, and the one of ``place`` is among them."""


class Watch:
    """Counts what a page does."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.lists = self.pictures = 0
        self.table = Table("what was done")
        for name in COLUMNS:
            self.table.add_column(name, justify="right")
        page.on("request", lambda request: self._count(request.url))
        self.tools = page.context.new_cdp_session(page)
        self.tools.send("HeapProfiler.enable")

    def _count(self, url: str) -> None:
        self.lists += "/items?" in url
        self.pictures += "/image?" in url

    def until_drawn(self, action: Callable[[], object], place: int | None = None) -> float:
        """Milliseconds."""
        began = time.perf_counter()
        action()
        self.page.wait_for_function(SEEN, arg=place, timeout=PATIENCE_SECONDS * 1000, polling=16)
        return 1000 * (time.perf_counter() - began)

    def note(self, words: str, took: float) -> None:
        """A row with what was counted since the last one."""
        self.page.wait_for_load_state("networkidle")
        self.tools.send("HeapProfiler.collectGarbage")
        heap = self.tools.send("Runtime.getHeapUsage")["usedSize"] / 1e6
        elements, tiles = self.page.evaluate(
            "['*', '.tile'].map((kind) => document.querySelectorAll(kind).length)"
        )
        cells = (f"{took:,.0f}", f"{elements:,}", f"{tiles}", f"{heap:.1f}", self.lists, self.pictures)
        self.table.add_row(words, *map(str, cells))
        self.lists = self.pictures = 0


def main() -> None:
    arguments = _parse_arguments()
    folder = arguments.home or Path(tempfile.mkdtemp(prefix="loupe-gallery-"))
    try:
        with _serving(folder) as (url, process):
            dataset, imported = _have_dataset(url, arguments.images)
            Console().print(
                f"{arguments.images:,} images, {imported}; load of the machine {os.getloadavg()[0]:.1f}"
            )
            before = _memory(process)
            table = _look(url, dataset, arguments.images)
            Console(width=160).print(table)
            print(f"API: {before} MB before the page was opened, {_memory(process)} MB after.")
            _ask(url, dataset, arguments.images)
    finally:
        if arguments.home is None:
            shutil.rmtree(folder, ignore_errors=True)


def _look(url: str, dataset: str, images: int) -> Table:
    random = np.random.default_rng(0)
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=os.geteuid() != 0)
        page = browser.new_context(viewport=WINDOW).new_page()
        watch = Watch(page)
        address = f"{url}/ui/datasets/{dataset}"
        watch.note("the page is opened", watch.until_drawn(lambda: page.goto(address), 0))
        gallery = page.locator(".gallery")
        gallery.focus()
        took = [watch.until_drawn(lambda: page.keyboard.press("PageDown")) for _ in range(PAGES_DOWN)]
        watch.note(f"PageDown, {PAGES_DOWN} times: median", median(took))
        watch.note("End", watch.until_drawn(lambda: page.keyboard.press("End"), images - 1))
        watch.note("Home", watch.until_drawn(lambda: page.keyboard.press("Home"), 0))
        jumps = [watch.until_drawn(partial(_scroll, gallery, share)) for share in random.random(JUMPS)]
        watch.note(f"jumps of the scroll bar, {JUMPS} times: median", median(jumps))
        for step in range(STEPS):
            _scroll(gallery, step / STEPS)
        at_the_end = watch.until_drawn(lambda: page.keyboard.press("End"), images - 1)
        watch.note(f"top to end in {STEPS} steps without a pause, then drawn", at_the_end)
        page.wait_for_url(f"**at={images - 1}")
        watch.note("reload at the end", watch.until_drawn(page.reload, images - 1))
        chip = page.get_by_label("Classes").get_by_role("link").nth(CLASSES // 2)
        watch.note("a filter by class", watch.until_drawn(chip.click, 0))
        browser.close()
    return watch.table


def _scroll(gallery: Locator, share: float) -> None:
    gallery.evaluate("(box, share) => { box.scrollTop = share * box.scrollHeight; }", float(share))


def _ask(url: str, dataset: str, images: int) -> None:
    """What a page of the list costs the server, wherever it begins."""
    queries: dict[str, dict[str, str]] = {
        "all": {},
        "one class": {"label": "class5"},
        "copies": {"copy": "true"},
    }
    with httpx.Client(base_url=f"{url}/v1", timeout=60) as client:
        for words, query in queries.items():
            starts = [share * images // 10 for share in range(10)]
            first, *later = [
                _milliseconds(
                    client, f"/datasets/{dataset}/items", {**query, "limit": "100", "start": str(at)}
                )
                for at in starts
            ]
            print(f"100 of the list, {words}: {first:.0f} ms at first, then {median(later):.0f} ms.")


def _milliseconds(client: httpx.Client, path: str, query: dict[str, str]) -> float:
    began = time.perf_counter()
    client.get(path, params=query).raise_for_status()
    return 1000 * (time.perf_counter() - began)


def _have_dataset(url: str, images: int) -> tuple[str, str]:
    """The dataset of so many images, and how it came."""
    with httpx.Client(base_url=f"{url}/v1", timeout=600) as client:
        client.post("/products", json={"id": PRODUCT})
        for dataset in client.get(f"/products/{PRODUCT}/datasets").json()["data"]:
            if dataset["items"] == images:
                return dataset["id"], "imported before"
        began = time.perf_counter()
        upload = {"file": ("images.zip", _make_archive(images))}
        dataset = client.post(f"/products/{PRODUCT}/datasets", files=upload).raise_for_status().json()
        while (job := client.get(f"/jobs/{dataset['job']}?wait=60").json())["status"] in (
            "queued",
            "running",
        ):
            pass
        if job["status"] != "succeeded":
            raise SystemExit(job["error"])
        return dataset["id"], f"made and imported in {time.perf_counter() - began:.0f} s"


def _make_archive(images: int) -> bytes:
    """Noisy squares, a colour a class; every hundredth is a copy of the one before."""
    random = np.random.default_rng(0)
    colours = random.integers(40, 216, (CLASSES, 1, 1, 3))
    output = io.BytesIO()
    picture = b""
    with zipfile.ZipFile(output, "w") as archive:
        for number in range(images):
            label = number % CLASSES
            if number % 100 != CLASSES:
                pixels = (
                    (colours[label] + random.normal(0, 18, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)
                )
                encoded = io.BytesIO()
                Image.fromarray(pixels).save(encoded, "PNG", compress_level=1)
                picture = encoded.getvalue()
            archive.writestr(f"class{label}/{number:06d}.png", picture)
    return output.getvalue()


@contextmanager
def _serving(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "up", "--home", str(home), "--port", str(port)],
        # What is measured is the gallery: an examination would take minutes more.
        env={**os.environ, "LOUPE_EXAMINE_IMPORTS": "false"},
        stdout=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            try:
                if httpx.get(f"{url}/readyz").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _memory(process: psutil.Process) -> int:
    """Of the API, in MB."""
    api = [child for child in process.children(recursive=True) if "app.launch.api" in child.cmdline()]
    return round(sum(int(one.memory_info().rss) for one in api) / 1e6)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--home", type=Path, help="a home folder that keeps the dataset; else a new one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
