"""A large archive on its way from a page: cut off, it goes on, also after a reload; given up, it is gone"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.test_import import drop, start
from tests.conftest import Service
from tests.cutting import Way, way_to
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

MIB = 2**20
PATH = "/ui/products/cut/import"
WAITING = "Waiting for the network"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 MiB of images that nothing makes smaller."""
    folder = tmp_path_factory.mktemp("cut") / "parts"
    random = np.random.default_rng(1)
    for label in ("red", "green"):
        (folder / label).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 256, (1024, 1024, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.bmp")
    return folder


@pytest.fixture
def way(service: Service) -> Iterator[Way]:
    with way_to(int(service.url.rpartition(":")[2])) as way:
        yield way


def cut_after(way: Way, more: int) -> threading.Event:
    """Nothing passes once ``more`` bytes have, until the event is set."""
    is_back = threading.Event()
    way.cut_after(way.sent + more, lambda: is_back.wait(60))
    return is_back


def test_an_import_goes_on_after_a_cut_and_after_a_reload_and_ends_where_it_is_cancelled(
    open_page: Open, service: Service, way: Way, folder: Path, show: Callable[[Page, str], None]
) -> None:
    cut = Service(f"http://127.0.0.1:{way.port}", service.home, service.process)
    page = open_page("/ui", service=cut, expected=r"ERR_")
    page.on("dialog", lambda dialog: dialog.accept())

    def choose() -> None:
        page.goto(cut.url + PATH)
        drop(page, folder)
        start(page)

    with service.client() as client:
        client.post("/products", json={"id": "cut"}).raise_for_status()
        is_back = cut_after(way, 6 * MIB)
        choose()
        expect(page.get_by_role("status")).to_contain_text(WAITING)
        show(page, "import-waiting")
        wait_for(lambda: offsets(service)[0] > 5 * MIB, 30, "what came before the cut")
        again = cut_after(way, 6 * MIB)
        is_back.set()
        wait_for(lambda: offsets(service)[0] > 11 * MIB, 30, "what came before the second cut")
        page.goto("about:blank")
        again.set()
        (offset,) = offsets(service)
        before = way.sent
        choose()
        expect(page.locator(".answer")).to_have_text("6 images in 2 classes", timeout=60_000)
        assert way.sent - before < 19 * MIB - offset
        (dataset,) = client.get("/products/cut/datasets").json()["data"]
        items = client.get(f"/datasets/{dataset['id']}/items").json()["data"]
        assert {item["sha256"] for item in items} == {
            hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.bmp")
        }

        is_back = cut_after(way, 4 * MIB)
        choose()
        expect(page.get_by_role("status")).to_contain_text(WAITING)
        page.get_by_role("button", name="Cancel").click()
        is_back.set()
        expect(page.locator(".drop")).to_be_visible()
        wait_for(lambda: offsets(service) == [], 30, "the end of the upload that was given up")


def offsets(service: Service) -> list[int]:
    with service.client() as client:
        return [upload["offset"] for upload in client.get("/uploads").json()["data"]]
