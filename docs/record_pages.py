"""Takes the pictures of ``docs/images`` from a running ``make demo``.

python -m docs.record_pages http://127.0.0.1:8000
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import httpx2 as httpx
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from docs.generate import ROOT

FOLDER = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1200, 1000
QUALITY = 80


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    server = sys.argv[1].rstrip("/")
    program = shutil.which("chromium")
    if program is None:
        sys.exit("Chromium is not installed (Debian: apt-get install chromium).")
    product = "digits"
    champion = httpx.get(f"{server}/products/{product}").raise_for_status().json()["champion"]
    model = httpx.get(f"{server}/models/{champion}").raise_for_status().json()
    pages = {
        "product": f"/ui/products/{product}",
        "dataset": f"/ui/datasets/{model['dataset']}",
        "job": f"/ui/jobs/{model['job']}",
    }
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        for name, path in pages.items():
            page.goto(server + path)
            _settle(page)
            if name == "product":
                held_out = ROOT / ".loupe/demo/digits/held-out"
                picture = next(iter(sorted(held_out.glob("*/*.png"))), None)
                if picture is not None:
                    page.get_by_label("Choose a picture").set_input_files(picture)
                    expect(page.locator(".asked .answer")).to_be_visible()
            if name == "job":
                heading = page.get_by_role("heading", name="Where it is wrong")
                heading.evaluate("heading => heading.closest('section').scrollIntoView()")
            _save(page, FOLDER / f"{name}.webp")
        browser.close()


def _settle(page: Page) -> None:
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator(".skeleton")).to_have_count(0, timeout=60_000)
    page.wait_for_load_state("networkidle")


def _save(page: Page, to: Path) -> None:
    image = Image.open(io.BytesIO(page.screenshot()))
    image.convert("RGB").save(to, "WEBP", quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
