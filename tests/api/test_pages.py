"""``/docs`` and ``/redoc`` need no address beyond the server"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi.testclient import TestClient

from app.config import Settings
from tests.api.opened import opened
from tests.api.test_problems import assert_problem
from tests.clients import LOOPBACK

PAGES = ("/docs", "/redoc")
LINKS = {"src", "href", "action", "data-document", "poster", "srcset"}


class Page(HTMLParser):
    """All that a page refers to, and all that it would run or style by itself."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self._tag = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.links += [value or "" for name, value in attrs if name in LINKS]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.fixture(scope="module", params=["", "/lab/loupe"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("pages")
    with opened(Settings(home=home, root_path=request.param, api_key="s3cret", _env_file=None)) as client:
        client.headers["authorization"] = "Bearer s3cret"
        yield client


@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_all_it_refers_to_come_from_this_server(client: TestClient, path: str) -> None:
    prefix = client.get("/openapi.json").json().get("servers", [{"url": ""}])[0]["url"]
    answer = client.get(prefix + path)
    page = Page(answer.text)
    links = [link for link in page.links if link != "data:,"]
    assert not page.inline
    assert "//" not in re.sub(r"<!DOCTYPE html>", "", answer.text)
    assert len(links) >= 3
    for link in links:
        target = urlsplit(urljoin(f"{LOOPBACK}{prefix}{path}", link))
        assert target.netloc == urlsplit(LOOPBACK).netloc
        assert target.path.startswith(prefix)
        assert client.get(target.path).status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_the_browser_is_told_to_fetch_from_nowhere_else(client: TestClient, path: str) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in client.get(path).headers["content-security-policy"].split(";")
    )
    assert policy.pop("default-src") == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    sources = {source for value in policy.values() for source in value.split()}
    assert sources == {"'self'", "'none'", "'unsafe-inline'", "data:", "blob:"}
    assert "unsafe" not in policy["script-src"]


def test_styles_load_nothing_and_scripts_no_logo_or_badge(client: TestClient) -> None:
    style = client.get("/docs/assets/swagger-ui.css").text
    assert "@import" not in style
    assert all(url.strip("'\"").startswith("data:") for url in re.findall(r"url\(([^)]{0,40})", style))
    redoc = client.get("/docs/assets/redoc.standalone.js").text
    assert re.findall(r"https?://[^\"'`\s/]+/[^\"'`\s]+\.(?:svg|png|woff2?|css|js)\b", redoc) == []
    assert "validatorUrl: null" in client.get("/docs/assets/swagger-start.js").text


@pytest.mark.parametrize("name", ["favicon.png", "..%2f__init__.py", "%2e%2e", "x"])
def test_other_files_are_not_served(client: TestClient, name: str) -> None:
    assert_problem(client.get(f"/docs/assets/{name}"), 404)


def test_who_knows_only_the_address_is_led_to_the_page(client: TestClient) -> None:
    prefix = client.get("/openapi.json").json().get("servers", [{"url": ""}])[0]["url"]
    answer = client.get(f"{prefix}/", follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"] == f"{prefix}/ui"
