"""The whole walk of a person, on a Loupe that is stopped and started again in the middle"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import FilePayload, expect

from tests.browser.conftest import Open
from tests.conftest import Service, start_service, stop_service
from tests.pictures import make_files, make_picture, make_zip
from tests.running import TINY
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

LONG = 90_000
"""Milliseconds that a training and its end may take on a busy machine."""


@pytest.fixture(scope="module")
def own_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = start_service(tmp_path_factory.mktemp("walk"))
    yield service
    stop_service(service)


def test_from_a_name_to_a_champion_and_back(open_page: Open, own_service: Service) -> None:
    service = own_service
    # The server is away for some seconds, and the browser says what it could not fetch.
    page = open_page(
        "/ui", service=service, expected=r"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY"
    )

    page.get_by_role("button", name="New product").first.click()
    page.get_by_label("Name").fill("Coloured squares")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Coloured squares")
    assert page.url.endswith("/ui/products/coloured-squares")
    expect(page.get_by_text("No images yet")).to_be_visible()

    with service.client() as client:
        archive = {"file": ("squares.zip", make_zip(make_files()))}
        dataset = client.post("/products/coloured-squares/datasets", files=archive).json()["id"]
        wait_for(lambda: client.get(f"/datasets/{dataset}").json()["status"] == "ready", 60, "the import")

    page.get_by_role("link", name="Train").click()
    page.get_by_role("combobox", name="Network").select_option("tiny_cnn")
    page.get_by_text("All settings").click()
    for name, value in TINY.items():
        field = page.get_by_label(re.compile(f"^{name.replace('_', ' ')}")).first
        if name == "augmentation":
            field.select_option(str(value))
        else:
            field.fill(str(value))
    expect(page.get_by_text("learns from")).to_be_visible()
    page.get_by_role("button", name="Start the training").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Training of tiny_cnn")
    job = page.url.rsplit("/", 1)[1]
    expect(page.get_by_role("progressbar")).to_be_visible()

    # The page is not touched: it goes on by itself.
    stop_service(service)
    expect(page.get_by_role("alert").first).to_contain_text("does not answer")
    again = start_service(service.home, LOUPE_PORT=str(urlsplit(service.url).port))
    service.process = again.process
    expect(page.get_by_text("that it never saw")).to_be_visible(timeout=LONG)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".plot canvas").first).to_be_visible()
    expect(page.get_by_text("It is the champion.")).to_be_visible()
    expect(page.get_by_text("Model version 1 is there.")).to_be_visible()

    page.get_by_role("button", name="green answered as green").click()
    expect(page.get_by_text("Pictures of green, answered right")).to_be_visible()
    expect(page.locator(".pictures img").first).to_be_visible()
    green = FilePayload(name="new.png", mimeType="image/png", buffer=make_picture("green", 7_000))
    page.get_by_label("Choose a picture").set_input_files(green)
    expect(page.locator(".asked .answer")).to_have_text("green")

    with service.client() as client:
        body = {"product": "coloured-squares", "network": "tiny_cnn", "hyperparameters": {**TINY, "seed": 1}}
        second = client.post("/jobs", json=body).raise_for_status().json()["id"]
        assert client.get(f"/jobs/{second}?wait=60").json()["status"] == "succeeded"

        def champion() -> str:
            found: str = client.get("/products/coloured-squares").json()["champion"]
            job: str = client.get(f"/models/{found}").json()["job"]
            return job

        wanted = second if champion() == job else job
        page.goto(f"{service.url}/ui/products/coloured-squares/models")
        page.get_by_role("button", name="Promote").click()
        page.get_by_label("Why").fill("It looks better on the line.")
        page.get_by_role("dialog").get_by_role("button", name="Promote").click()
        expect(page.get_by_text("It looks better on the line.")).to_be_visible()
        assert champion() == wanted
        page.get_by_role("button", name="Roll back").click()
        page.get_by_label("Why").fill("It did not.")
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        expect(page.get_by_text("It did not.")).to_be_visible()
        assert champion() != wanted
