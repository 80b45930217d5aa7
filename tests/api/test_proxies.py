"""Behind a proxy, under a path prefix"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.api.proxies import ProxyMiddleware
from app.config import Settings
from tests.api.opened import opened
from tests.api.test_problems import assert_problem

PROXY, STRANGER = ("10.1.2.3", 5000), ("10.9.9.9", 5000)


@pytest.fixture(params=["setting", "header"])
def proxied(request: pytest.FixtureRequest, settings: Settings) -> Iterator[TestClient]:
    """Loupe as its proxy reaches it, which knows the prefix by each way in turn."""
    changes: dict[str, Any] = (
        {"root_path": "/lab/loupe"} if request.param == "setting" else {"trusted_proxies": "10.1.2.0/24"}
    )
    given = Settings(home=settings.home, _env_file=None, **changes)
    headers = {} if request.param == "setting" else {"x-forwarded-prefix": "/lab/loupe"}
    with opened(given, client=PROXY, headers=headers, follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize("sent", ["", "/lab/loupe"], ids=["stripped", "kept"])
def test_everything_is_right_under_a_prefix_whether_the_proxy_strips_it_or_not(
    proxied: TestClient, sent: str
) -> None:
    key = {"idempotency-key": "k"}
    made = proxied.post(f"{sent}/products", json={"id": "screws"}, headers=key)
    assert made.status_code == 201
    assert made.headers["location"] == "/lab/loupe/products/screws"
    again = proxied.post(
        "/lab/loupe/v1/products" if not sent else "/products", json={"id": "screws"}, headers=key
    )
    assert again.headers["location"] == "/lab/loupe/products/screws"
    assert proxied.get(f"{sent}/products/screws").status_code == 200
    assert proxied.get(f"{sent}/products/").headers["location"] == "/lab/loupe/products"
    assert proxied.get(f"{sent}/openapi.json").json()["servers"] == [{"url": "/lab/loupe"}]
    missing = assert_problem(proxied.get(f"{sent}/products/none"), 404)
    assert missing["instance"] == "/lab/loupe/products/none"
    assert set(proxied.options(f"{sent}/products").headers["allow"].split(", ")) == {
        "GET",
        "HEAD",
        "OPTIONS",
        "POST",
    }
    assert proxied.head(f"{sent}/products").status_code == 200


def test_the_limits_of_a_path_hold_under_a_prefix(settings: Settings) -> None:
    given = Settings(home=settings.home, root_path="/x", max_json_bytes=1000, _env_file=None)
    with opened(given) as client:
        json = {"content-type": "application/json"}
        assert_problem(client.post("/x/products", content=b" " * 2000, headers=json), 413)
        assert client.post("/x/predict", content=b" " * 2000, headers=json).status_code == 422


@pytest.mark.parametrize(
    ("client_address", "trusted"), [(STRANGER, "10.1.2.0/24"), (STRANGER, None), (PROXY, "10.1.2.4")]
)
def test_a_prefix_of_somebody_else_is_ignored(
    settings: Settings, client_address: tuple[str, int], trusted: str | None
) -> None:
    given = Settings(home=settings.home, trusted_proxies=trusted, _env_file=None)
    with opened(given, client=client_address, headers={"x-forwarded-prefix": "/evil"}) as client:
        made = client.post("/products", json={"id": "screws"})
        assert made.headers["location"] == "/products/screws"
        assert "servers" not in client.get("/openapi.json").json()


def test_who_forwards_for_a_client_does_not_make_it_a_proxy(settings: Settings) -> None:
    given = Settings(home=settings.home, trusted_proxies="10.1.2.3", _env_file=None)
    headers = {"x-forwarded-for": "10.1.2.3", "x-forwarded-prefix": "/evil"}
    with opened(given, client=STRANGER, headers=headers) as client:
        assert client.post("/products", json={"id": "screws"}).headers["location"] == "/products/screws"


DANGEROUS = [
    "//evil.example",
    "/a//evil.example",
    "https://evil.example",
    "evil",
    '/"onload="x',
    "/<script>",
    "/a'b",
    "/a b",
    "/../x",
    "/a/./b",
    "/a?b",
    "/a#b",
    "/a%0d%0aSet-Cookie:x",
    "/a\\b",
    "/a, /b",
    "/é",
    "/" + "x" * 300,
]


@pytest.mark.parametrize("prefix", DANGEROUS)
def test_a_dangerous_prefix_is_ignored_from_a_proxy_and_refused_as_a_setting(
    settings: Settings, prefix: str
) -> None:
    given = Settings(home=settings.home, trusted_proxies="*", _env_file=None)
    with opened(given, headers={"x-forwarded-prefix": prefix.encode()}) as client:
        assert client.post("/products", json={"id": "screws"}).headers["location"] == "/products/screws"
        assert "servers" not in client.get("/openapi.json").json()
        assert "evil" not in client.get("/docs").text
    with pytest.raises(ValidationError):
        Settings(root_path=prefix, _env_file=None)


@pytest.mark.parametrize("prefix", ["/a\r\nSet-Cookie: x", "/a\n", "/a\0b"])
def test_a_setting_with_control_characters_is_refused(prefix: str) -> None:
    if prefix.strip() == "/a":
        assert Settings(root_path=prefix, _env_file=None).root_path == "/a"
        return
    with pytest.raises(ValidationError):
        Settings(root_path=prefix, _env_file=None)


def test_two_prefixes_are_none(settings: Settings) -> None:
    given = Settings(home=settings.home, trusted_proxies="*", _env_file=None)
    with opened(given) as client:
        answer = client.post(
            "/products",
            json={"id": "screws"},
            headers=[("x-forwarded-prefix", "/a"), ("x-forwarded-prefix", "/b")],
        )
        assert answer.headers["location"] == "/products/screws"


def test_one_clients_prefix_is_not_anothers(settings: Settings) -> None:
    given = Settings(home=settings.home, trusted_proxies="*", _env_file=None)
    with opened(given) as client:
        for prefix in ("/a", "/b"):
            servers = client.get("/openapi.json", headers={"x-forwarded-prefix": prefix}).json()["servers"]
            assert servers == [{"url": prefix}]
        assert "servers" not in client.get("/openapi.json").json()


@pytest.mark.parametrize("value", ["no-address", "10.1.2.3/99", "10.1.2.5/24", "*, 10.1.2.3"])
def test_proxies_that_are_no_addresses_are_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        Settings(trusted_proxies=value, _env_file=None)


NEAR = "10.0.0.0/8"


@pytest.mark.parametrize(
    ("peer", "trusted", "forwarded", "client"),
    [
        ("10.0.0.1", NEAR, ["192.0.2.7"], "192.0.2.7"),
        ("192.0.2.1", NEAR, ["192.0.2.7"], "192.0.2.1"),
        ("127.0.0.1", None, ["192.0.2.7"], "192.0.2.7"),
        # Several hops: what stands before the last stranger, the client itself may have written.
        ("10.0.0.1", NEAR, ["127.0.0.1, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", NEAR, ["203.0.113.9", "192.0.2.7", "10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", NEAR, ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", NEAR, ["192.0.2.7:4711"], "192.0.2.7"),
        ("10.0.0.1", NEAR, ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", NEAR, ["2001:DB8:0::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", NEAR, ["192.0.2.7"], "192.0.2.7"),
        # What is no address is not believed, nor what stands before it.
        ("10.0.0.1", NEAR, ["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", NEAR, ["evil\x1b[31m"], "10.0.0.1"),
        ("10.0.0.1", NEAR, ["192.0.2.7\t- GET /x"], "10.0.0.1"),
        ("10.0.0.1", NEAR, [""], "10.0.0.1"),
        ("10.0.0.1", NEAR, ["," * 10_000], "10.0.0.1"),
        ("10.0.0.1", NEAR, [",".join(["10.0.0.2"] * 10_000)], "10.0.0.2"),
        ("192.0.2.1", "*", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("192.0.2.1", "*", ["\x07"], "192.0.2.1"),
    ],
)
def test_a_forwarded_client_is_believed_as_far_as_trusted_proxies_have_seen_it(
    settings: Settings, peer: str, trusted: str | None, forwarded: list[str], client: str
) -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"][0])

    given = settings.model_copy(update={"trusted_proxies": trusted})
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope = {"type": "http", "path": "/", "scheme": "http", "client": (peer, 1), "headers": headers}
    asyncio.run(ProxyMiddleware(app, given)(scope, None, None))  # type: ignore[arg-type]
    assert seen == [client]


@pytest.mark.parametrize(
    ("peer", "forwarded", "scheme"),
    [("10.0.0.1", "https", "https"), ("192.0.2.1", "https", "http"), ("10.0.0.1", "ws\x1b", "http")],
)
def test_a_forwarded_scheme_is_believed_of_a_trusted_proxy(
    settings: Settings, peer: str, forwarded: str, scheme: str
) -> None:
    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        assert scope["scheme"] == scheme

    given = settings.model_copy(update={"trusted_proxies": NEAR})
    headers = [(b"x-forwarded-proto", forwarded.encode())]
    scope = {"type": "http", "path": "/", "scheme": "http", "client": (peer, 1), "headers": headers}
    asyncio.run(ProxyMiddleware(app, given)(scope, None, None))  # type: ignore[arg-type]
