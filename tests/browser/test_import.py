"""Images on their way in: dropped, sorted, sent, imported, and what the page says of them"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.browser.conftest import NARROW, Open
from tests.conftest import Service
from tests.pictures import make_files, make_picture, make_zip

pytestmark = pytest.mark.integration

LONG = "a very long name " * 8


@pytest.fixture
def look(show: Callable[[Page, str], None], examine: Callable[[Page], None]) -> Callable[[Page, str], None]:
    """``look(page, name)``: a picture of it, and axe-core finds nothing."""

    def look(page: Page, name: str) -> None:
        show(page, name)
        examine(page)

    return look


@pytest.fixture(scope="module")
def product(service: Service) -> str:
    with service.client() as client:
        client.post("/products", json={"id": "dropped", "name": "Dropped"}).raise_for_status()
    return "/ui/products/dropped/import"


def drop(page: Page, *paths: Path) -> None:
    """As a person drags files and folders out of their file manager."""
    place = page.locator(".drop").bounding_box()
    assert place is not None
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send(
            "Input.dispatchDragEvent", {"type": kind, "x": place["x"] + 9, "y": place["y"] + 9, "data": data}
        )


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def start(page: Page) -> None:
    page.get_by_role("button", name="Import", exact=True).click()


def test_a_dropped_folder_becomes_a_dataset_whose_faults_stand_with_pictures(
    open_page: Open, look: Callable[[Page, str], None], service: Service, product: str, tmp_path: Path
) -> None:
    files = make_files(4)
    files["red/copy.png"] = files["red/red_000.png"]
    files["blue/wrong.png"] = files["green/green_000.png"]
    files["green/broken.jpg"] = b"no image"
    files["green/notes.txt"] = b"some words"
    files[f"green/größe/{LONG}.png"] = make_picture("green", 99)
    files |= {".hidden": b"x", "red/empty.png": b""}
    page = open_page(product)
    drop(page, write_files(tmp_path / "parts", files))
    expect(page.get_by_role("heading", name="16 images")).to_be_visible()
    expect(page.locator(".notice")).to_contain_text("1 file is left out: hidden.")
    expect(page.locator(".notice")).to_contain_text("1 file is left out: empty.")
    expect(page.locator(".notice")).to_contain_text("1 file has another name than images have")
    look(page, "import-chosen")
    start(page)
    expect(page.locator(".answer")).to_have_text("15 images in 3 classes", timeout=60_000)
    findings = page.locator(".found p > b").all_inner_texts()
    assert findings == [
        "1 image lies in more than one class.",
        "1 image could not be read.",
        "1 image is there more than once.",
        "1 file was skipped.",
    ]
    expect(page.locator(".found").first.locator("img")).to_have_count(2)
    look(page, "import-report")
    page.set_viewport_size(NARROW)
    look(page, "import-report-400")
    page.reload()
    expect(page.locator(".answer")).to_have_text("15 images in 3 classes")
    [dataset] = parse_qs(urlsplit(page.url).query)["dataset"]
    expect(page.get_by_role("link", name="Train")).to_have_attribute(
        "href", f"/ui/products/dropped/train?dataset={dataset}"
    )
    with service.client() as client:
        items = client.get(f"/datasets/{dataset}/items").json()["data"]
        assert f"green/größe/{LONG}.png" in {item["name"] for item in items}
        assert client.get(f"/datasets/{dataset}").json()["source"] == "parts.tar"


def test_images_without_a_folder_are_asked_for_their_class(open_page: Open, product: str) -> None:
    page = open_page(product)
    for label in ("red", "blue"):
        page.get_by_label("Choose files").set_input_files(
            [
                FilePayload(name="1.png", mimeType="image/png", buffer=make_picture(label, seed))
                for seed in (1, 2, 3)
            ]
        )
        expect(page.get_by_label("Class of 3 images").last).to_be_focused()
        page.keyboard.type(label)
    start(page)
    expect(page.locator(".answer")).to_have_text("6 images in 2 classes", timeout=60_000)


def test_an_import_that_can_be_read_in_two_ways_is_asked_about(
    open_page: Open, look: Callable[[Page, str], None], product: str
) -> None:
    files = {f"line/{name}": content for name, content in make_files(3).items()}
    files |= {f"lab/{name}": content for name, content in make_files(2).items()}
    page = open_page(product)
    chosen = FilePayload(name="a.zip", mimeType="application/zip", buffer=make_zip(files))
    page.get_by_label("Choose files").set_input_files(chosen)
    start(page)
    expect(page.get_by_text("Which is meant?")).to_be_visible(timeout=60_000)
    look(page, "import-question")
    page.get_by_role("button", name="The innermost folders: 3 classes").click()
    expect(page.locator(".answer")).to_have_text("15 images in 3 classes", timeout=60_000)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("parts.zip", b"no archive at all", "parts.zip is no zip"),
        ("parts.rar", b"Rar!\x1a\x07", "neither an image nor an archive"),
        ("parts.zip", b"", "parts.zip is empty"),
    ],
)
def test_what_cannot_be_read_is_said_before_anything_is_sent(
    open_page: Open, product: str, name: str, content: bytes, said: str
) -> None:
    page = open_page(product)
    page.get_by_label("Choose files").set_input_files(
        FilePayload(name=name, mimeType="application/octet-stream", buffer=content)
    )
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_role("button", name="Import", exact=True)).to_have_count(0)


def test_the_archive_that_a_page_packs_is_one_that_other_programs_read(
    open_page: Open, product: str, tmp_path: Path
) -> None:
    files = {"a/1.png": b"x" * 511, "a/2.png": b"y" * 512, f"ü/{LONG}.png": b"z" * 513}
    page = open_page(product, expected="ERR_FAILED")
    packed: list[bytes] = []

    def keep(route: Route) -> None:
        packed.append(route.request.post_data_buffer or b"")
        route.abort()

    page.route("**/datasets", keep)
    drop(page, write_files(tmp_path / "parts", files))
    start(page)
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as archive:
        entries = [(entry.name, archive.extractfile(entry)) for entry in archive]
        found = {name: content.read() for name, content in entries if content is not None}
    assert found == {f"parts/{name}": content for name, content in files.items()}
