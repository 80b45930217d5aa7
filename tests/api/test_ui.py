"""``/ui``: files for a browser, whose addresses work after a reload, under any prefix, without a key"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.api import ui
from app.config import Settings
from docs.generate import ROOT
from tests.api.opened import opened
from tests.api.test_pages import Page
from tests.api.test_problems import assert_problem


@pytest.fixture(scope="module", params=["", "/lab/loupe"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("ui")
    with opened(Settings(home=home, root_path=request.param, api_key="s3cret", _env_file=None)) as client:
        client.headers["x-prefix"] = request.param
        yield client


def prefix_of(client: TestClient) -> str:
    return client.headers["x-prefix"]


@pytest.mark.parametrize(
    "path", ["/ui", "/ui/", "/ui/products/screws", "/ui/jobs/job_1?tab=a", "/ui/made/up"]
)
def test_every_address_is_the_page_and_all_it_loads_comes_from_here(client: TestClient, path: str) -> None:
    answer = client.get(prefix_of(client) + path)
    assert answer.status_code == 200
    page = Page(answer.text)
    assert not page.inline
    loaded = [link for link in page.links if "/assets/" in link]
    assert len(loaded) == 2
    for link in loaded:
        assert link.startswith(f"{prefix_of(client)}/ui/assets/")
        asset = client.get(link)
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]
    assert f'data-root="{prefix_of(client)}"' in answer.text


def test_a_browser_may_run_no_script_and_apply_no_style_that_is_not_a_file_of_ours(
    client: TestClient,
) -> None:
    policy = client.get(f"{prefix_of(client)}/ui").headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_an_asset_comes_compressed_where_the_browser_takes_that(client: TestClient) -> None:
    [name] = [path.name for path in (ui.FOLDER / "assets").glob("main-*.js")]
    url = f"{prefix_of(client)}/ui/assets/{name}"
    plain = client.get(url, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == (ui.FOLDER / "assets" / name).read_bytes()
    for accepted, encoding in (
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=0", None),
    ):
        with client.stream("GET", url, headers={"accept-encoding": accepted}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") == encoding
        assert "accept-encoding" in answer.headers["vary"].lower()
        if encoding == "gzip":
            assert gzip.decompress(raw) == plain.content


@pytest.mark.parametrize("name", ["%2e%2e", "main.js", "index.html", "x.js"])
def test_nothing_else_is_read(client: TestClient, name: str) -> None:
    assert_problem(client.get(f"{prefix_of(client)}/ui/assets/{name}"), 404)


def test_without_the_pages_the_reader_learns_how_to_make_them(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ui, "FOLDER", tmp_path)
    answer = client.get(f"{prefix_of(client)}/ui")
    assert answer.status_code == 404
    assert "make ui" in answer.text
    assert f'href="{prefix_of(client)}/docs"' in answer.text


def test_the_first_page_is_light() -> None:
    """All that `/ui` loads, compressed: its page, its style, and the scripts that its scripts name."""
    assets = ui.FOLDER / "assets"
    seen: set[str] = set()
    [first] = assets.glob("main-*.js")
    [products] = assets.glob("products-*.js")
    waiting = [first.name, products.name]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            text = (assets / name).read_text(encoding="utf-8")
            waiting += re.findall(r'(?:from|import)"\./([\w-]+\.js)"', text)
    sizes = [(assets / f"{name}.gz").stat().st_size for name in seen]
    sizes += [path.stat().st_size for path in assets.glob("style-*.css.gz")]
    assert len(seen) > 2
    assert sum(sizes) < 300_000


def test_a_class_of_the_style_is_defined_in_one_file() -> None:
    """Two parts that meant different things by one word would change each other."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "ui/src/style").glob("*.css"):
        for name in re.findall(r"^\.([\w-]+) \{", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.setdefault(name, set()).add(path.name)
    assert len(found) > 20
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
