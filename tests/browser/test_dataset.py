"""The gallery of a dataset: long lists, filters with addresses, and a new version made with keys alone"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import NARROW, Open
from tests.conftest import Service
from tests.pictures import make_picture
from tests.running import upload_pictures
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

MANY = 400
REST = 250
"""Milliseconds until the place in the gallery stands in the address."""
COPY = make_picture("red", 0)
FILES = {
    **{f"red/{number:04d}.png": make_picture("red", number) for number in range(MANY)},
    **{f"blue/{number:04d}.png": make_picture("blue", number) for number in range(5)},
    "blue/copy.png": COPY,
}
TOTAL = len(FILES)


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    """Its red images are more than a window shows, and one of them is blue too."""
    with service.client() as client:
        return make_dataset(client, "many", FILES)


def make_dataset(client: Any, product: str, files: dict[str, bytes]) -> str:
    dataset: str = upload_pictures(client, product, files)["id"]
    wait_for(lambda: client.get(f"/datasets/{dataset}").json()["status"] == "ready", 60, "the import")
    return dataset


def shown(page: Page) -> list[str]:
    """The names of the images that are in the page, in their order."""
    names: list[str] = page.evaluate(
        "[...document.querySelectorAll('.tile')].map((tile) => tile.getAttribute('aria-label'))"
    )
    return names


def meant(page: Page) -> str:
    return page.get_by_role("option", selected=True).get_attribute("aria-label") or ""


def test_a_long_list_is_scrolled_to_its_end_without_being_held(open_page: Open, dataset: str) -> None:
    page = open_page(f"/ui/datasets/{dataset}", viewport=NARROW)
    gallery = page.get_by_role("listbox", name="Images")
    expect(page.get_by_role("option").first).to_have_attribute("aria-label", re.compile("blue/0000.png"))
    gallery.focus()
    few = len(shown(page))
    assert few < 60
    page.keyboard.press("End")
    expect(page.get_by_role("option", selected=True)).to_have_attribute(
        "aria-label", re.compile(f"red/{MANY - 1:04d}.png")
    )
    assert len(shown(page)) <= few
    expect(page).to_have_url(re.compile(f"at={TOTAL - 1}$"))
    page.reload()
    expect(page.get_by_role("option", selected=True)).to_have_attribute(
        "aria-label", re.compile(f"red/{MANY - 1:04d}.png")
    )
    expect(page.get_by_role("option", selected=True)).to_be_in_viewport()


def test_a_finding_leads_to_its_images_and_back(open_page: Open, dataset: str) -> None:
    page = open_page(f"/ui/datasets/{dataset}")
    page.get_by_role("link", name=re.compile("Show these: 1 image lies in more than one class")).click()
    expect(page).to_have_url(re.compile(r"\?contradiction=true"))
    expect(page.get_by_role("option")).to_have_count(2)
    assert [name.split(",")[0] for name in shown(page)] == ["blue/copy.png", "red/0000.png"]
    page.get_by_label("Classes").get_by_role("link", name=re.compile("red")).click()
    expect(page.get_by_role("option")).to_have_count(1)
    page.reload()
    expect(page.get_by_role("option")).to_have_count(1)
    page.go_back()
    expect(page.get_by_role("option")).to_have_count(2)
    page.get_by_role("link", name="Show all").click()
    expect(page.get_by_role("heading", name=f"{TOTAL} images")).to_be_visible()


def test_an_image_is_seen_large_with_its_facts_and_the_next_one_by_a_key(
    open_page: Open,
    show: Callable[[Page, str], None],
    examine: Callable[[Page], None],
    dataset: str,
) -> None:
    page = open_page(f"/ui/datasets/{dataset}?at=3")
    expect(page.get_by_role("option", selected=True)).to_have_count(1)
    page.get_by_role("listbox").focus()
    page.keyboard.press("Enter")
    view = page.get_by_role("dialog")
    expect(view.get_by_role("heading")).to_have_text("blue/0003.png")
    expect(view).to_contain_text("24 × 24 pixels")
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")
    show(page, "dataset-large-1280")
    examine(page)
    page.keyboard.press("ArrowRight")
    expect(view.get_by_role("heading")).to_have_text("blue/0004.png")
    expect(page).to_have_url(re.compile("at=4&view=large"))
    page.reload()
    expect(view.get_by_role("heading")).to_have_text("blue/0004.png")
    page.set_viewport_size(NARROW)
    show(page, "dataset-large-400")
    page.keyboard.press("Escape")
    expect(view).to_have_count(0)
    assert meant(page).startswith("blue/0004.png")


def test_changes_are_collected_undone_and_become_a_new_version(open_page: Open, service: Service) -> None:
    files = {
        f"{label}/{number}.png": make_picture(label, number)
        for label in ("blue", "red")
        for number in range(4)
    }
    with service.client() as client:
        dataset = make_dataset(client, "mended", files)
    page = open_page(f"/ui/datasets/{dataset}")
    gallery = page.get_by_role("listbox")
    expect(page.get_by_role("option")).to_have_count(8)
    gallery.focus()
    page.keyboard.press("2")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("2")
    changes = page.get_by_label("Changes", exact=True)
    expect(changes).to_contain_text("3 changes")
    assert shown(page)[:3] == ["blue/0.png, blue → red", "blue/1.png, blue, leaves", "blue/2.png, blue → red"]
    page.reload()
    expect(changes).to_contain_text("3 changes")
    changes.get_by_text("3 changes").click()
    changes.get_by_role("button", name=re.compile("Undo: blue.2.png")).click()
    expect(changes).to_contain_text("2 changes")
    changes.get_by_role("button", name="Make a new version").click()
    expect(page.get_by_text("1 image left out")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("1 image of another class now")).to_be_visible()
    assert dataset not in page.url
    expect(page.get_by_role("option")).to_have_count(7)
    page.get_by_role("link", name="the dataset before").click()
    expect(page.get_by_role("option")).to_have_count(8)
    expect(changes).to_have_count(0)


def test_a_dataset_is_deleted_unless_something_that_answers_was_made_of_it(
    open_page: Open, squares: str, service: Service
) -> None:
    with service.client() as client:
        needed = client.get(f"/jobs/{squares}").json()["dataset"]["id"]
        free = make_dataset(client, "gone", {"red/0.png": COPY, "blue/0.png": make_picture("blue", 0)})
    page = open_page(f"/ui/datasets/{needed}", expected="status of 409")
    delete(page)
    expect(page.get_by_role("alert")).to_contain_text("1 model that was trained on it has an alias")
    expect(page.get_by_role("dialog")).to_contain_text("/models/")
    page.goto(f"{service.url}/ui/datasets/{free}")
    delete(page)
    expect(page).to_have_url(re.compile("/ui/products/gone$"))


def test_who_goes_on_to_a_page_that_loads_slowly_is_not_called_back(open_page: Open, dataset: str) -> None:
    page = open_page(f"/ui/datasets/{dataset}")
    expect(page.get_by_role("option").first).to_be_visible()
    held: list[Route] = []
    page.route(re.compile(r"/assets/product-.*\.js$"), lambda one: held.append(one))
    page.get_by_role("listbox").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("link", name="many").click()
    page.wait_for_timeout(2 * REST)  # a negative has no event to wait for
    for one in held:
        one.continue_()
    expect(page.get_by_role("heading", name="many", level=1)).to_be_visible()
    assert len(held) == 1
    expect(page).to_have_url(re.compile("/ui/products/many$"))


def delete(page: Page) -> None:
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete it").click()
