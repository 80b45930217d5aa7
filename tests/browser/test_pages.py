"""Every page as a person finds it: at three widths, light, dark, read by axe-core, with a keyboard alone"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import FilePayload, Page, expect

from docs.generate import ROOT
from tests.browser.conftest import MIDDLE, NARROW, Open
from tests.conftest import Service
from tests.pictures import make_picture

Look = Callable[[Page, str], None]

pytestmark = pytest.mark.integration

PAGES = {
    "products": "/ui",
    "product": "/ui/products/squares",
    "import": "/ui/products/squares/import",
    "dataset": "/ui/datasets/{dataset}",
    "train": "/ui/products/squares/train",
    "models": "/ui/products/squares/models",
    "job": "/ui/jobs/{job}",
    "compare": "/ui/compare?product=squares&jobs={job}",
    "sweep": "/ui/sweeps/{sweep}",
    "service": "/ui/service",
    "missing": "/ui/made/up",
}
"""By the name of its picture; ``{job}``, ``{dataset}`` and ``{sweep}`` are ids."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_for_everybody(
    open_page: Open,
    show: Look,
    examine: Callable[[Page], None],
    service: Service,
    squares: str,
    sweep: str,
    name: str,
) -> None:
    with service.client() as client:
        dataset = client.get(f"/jobs/{squares}").json()["dataset"]["id"]
    page = open_page(PAGES[name].format(job=squares, dataset=dataset, sweep=sweep))
    expect(page.locator("h1")).to_be_visible()
    show(page, f"{name}-1280")
    examine(page)
    page.emulate_media(color_scheme="dark")
    show(page, f"{name}-dark")
    examine(page)
    for width in (MIDDLE, NARROW):
        page.set_viewport_size(width)
        show(page, f"{name}-{width['width']}")


def test_every_page_is_in_the_list() -> None:
    """A page that nobody looks at would be the one that breaks."""
    sources = {path.stem for path in (ROOT / "ui/src/pages").glob("*.tsx")}
    assert sources == set(PAGES)


@pytest.mark.usefixtures("squares")
def test_a_picture_is_asked_about_by_keyboard_and_the_answer_stands_in_words(open_page: Open) -> None:
    page = open_page("/ui")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_role("link", name="Coloured squares").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Coloured squares")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    with page.expect_file_chooser() as chosen:
        page.get_by_label("Choose a picture").focus()
        page.keyboard.press("Enter")
    chosen.value.set_files(
        FilePayload(name="a.png", mimeType="image/png", buffer=make_picture("green", 7_000))
    )
    expect(page.locator(".asked .answer")).to_have_text("green")
    expect(page.locator(".asked .state")).to_be_visible()


@pytest.mark.usefixtures("squares")
def test_a_file_that_is_no_picture_is_refused_in_words(open_page: Open) -> None:
    page = open_page("/ui/products/squares", expected="status of 4")
    chosen = FilePayload(name="a.png", mimeType="image/png", buffer=b"no picture")
    page.get_by_label("Choose a picture").set_input_files(chosen)
    expect(page.get_by_role("alert")).to_contain_text("not an image")


@pytest.mark.usefixtures("squares")
def test_a_page_goes_on_by_itself_once_the_server_is_back(open_page: Open) -> None:
    page = open_page("/ui", expected="ERR_INTERNET_DISCONNECTED")
    expect(page.get_by_role("link", name="Coloured squares")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("link", name="Coloured squares").click()
    expect(page.get_by_role("alert").first).to_contain_text("does not answer")
    page.context.set_offline(False)
    expect(page.get_by_text("How good it is")).to_be_visible()


@pytest.mark.usefixtures("squares")
def test_what_a_training_would_take_stands_beside_what_it_will_do(open_page: Open) -> None:
    page = open_page("/ui/products/squares/train")
    forecast = page.locator("section", has=page.get_by_role("heading", name="What it will take and bring"))
    expect(forecast.get_by_text("Time")).to_be_visible(timeout=30_000)
    expect(forecast.get_by_text("while it runs")).to_be_visible()
    expect(forecast.get_by_text("loupe dataset examine dst_")).to_be_visible()
