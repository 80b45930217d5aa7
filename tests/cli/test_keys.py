from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.conftest import Run, Server, as_json, as_problem

TIME = "2026-01-02T03:04:05.678Z"
KEY: dict[str, Any] = {
    "id": "key_01", "name": "camera", "prefix": "lp_abcdefgh", "scopes": ["predict"], "products": ["screws"],
    "created_at": TIME, "expires_at": None, "last_used_at": None, "rotated_at": None, "previous_until": None,
    "limits": {"requests_per_minute": 600, "concurrent_jobs": None},
}  # fmt: skip
SECRET = "lp_abcdefgh_" + "x" * 43


def test_a_new_key_is_all_that_is_printed(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({**KEY, "key": SECRET}, 201)

    ended = loupe(
        "key", "create", "camera", "--scope", "predict", "--scope", "read", "--product", "screws",
        "--days", "90", "--server", server.url,
    )  # fmt: skip

    assert (ended.status, ended.out) == (0, f"{SECRET}\n")
    assert "this once" in ended.err
    (request,) = server.requests
    body = json.loads(request.body)
    expiry = datetime.fromisoformat(body.pop("expires_at")) - datetime.now(UTC)
    assert timedelta(days=89.9) < expiry < timedelta(days=90)
    assert (request.method, request.path) == ("POST", "/api-keys")
    assert body == {"name": "camera", "scopes": ["predict", "read"], "products": ["screws"]}


def test_keys_are_listed_without_secrets(loupe: Run, server: Server) -> None:
    rows = [KEY, {**KEY, "id": "key_00", "products": None}, {**KEY, "id": "key_02", "products": []}]
    server.answer = lambda _: as_json({"data": rows, "has_more": False, "next_cursor": None})

    lines = loupe("keys", "--server", server.url).out.splitlines()

    assert lines[1].split() == ["key_01", "camera", "lp_abcdefgh", "predict", "screws", "never", "never"]
    assert lines[2].split()[4] == "all"
    assert "none" in lines[3]


def test_one_key_is_shown_with_what_it_may_do(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({**KEY, "previous_until": TIME})

    out = loupe("key", "show", "key_01", "--server", server.url).out

    assert "Ask models about images, and nothing else." in out
    assert re.search("secret before +until 2026-01-0", out)
    assert re.search("requests per minute +600", out)


def test_a_rotation_says_until_when_the_secret_before_is_good(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({**KEY, "key": SECRET, "previous_until": TIME})

    ended = loupe("key", "rotate", "key_01", "--overlap-hours", "0.5", "--server", server.url)

    assert ended.out == f"{SECRET}\n"
    assert "good until 2026-01-0" in ended.err
    (request,) = server.requests
    assert (request.path, json.loads(request.body)) == ("/api-keys/key_01/rotate", {"overlap_seconds": 1800})


def test_limits_are_set_and_taken_away(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json(KEY)

    ended = loupe(
        "key", "limit", "key_01", "--requests-per-minute", "600", "--concurrent-jobs", "0",
        "--server", server.url,
    )  # fmt: skip

    assert ended.out.split() == ["requests", "per", "minute", "600"]
    (request,) = server.requests
    assert (request.method, request.path) == ("PATCH", "/api-keys/key_01")
    assert json.loads(request.body) == {"limits": {"requests_per_minute": 600, "concurrent_jobs": None}}


def test_a_key_is_revoked(loupe: Run, server: Server) -> None:
    server.answer = lambda _: (204, "application/json", b"")

    assert loupe("key", "delete", "key_01", "--yes", "--server", server.url).out == "Key key_01 is revoked.\n"
    assert [(one.method, one.path) for one in server.requests] == [("DELETE", "/api-keys/key_01")]


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (403, "forbidden")])
def test_a_refused_key_is_answered_with_what_to_do_here(
    loupe: Run, server: Server, status: int, code: str
) -> None:
    server.answer = lambda _: as_problem(status, code, "No.", hint="Send `Authorization`.")

    ended = loupe("jobs", "--server", server.url)

    assert ended.status == 1
    assert "hint: Set LOUPE_API_KEY to a key" in ended.err
    assert "loupe key" in ended.err
    assert "Authorization" not in ended.err


def test_a_key_with_any_letters_is_sent_in_utf8(
    loupe: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda _: as_json({"data": [], "has_more": False, "next_cursor": None})
    monkeypatch.setenv("LOUPE_API_KEY", " schlüssel \U0001f511\n")

    assert loupe("jobs", "--server", server.url).status == 0
    (request,) = server.requests
    assert request.headers["authorization"].encode("latin-1") == "Bearer schlüssel \U0001f511".encode()


@pytest.mark.parametrize("key", ["a\nb", "a\x1bb", "caf\udce9"])
def test_a_key_that_cannot_be_sent_is_an_error_that_does_not_show_it(
    loupe: Run, server: Server, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("LOUPE_API_KEY", key)

    ended = loupe("jobs", "--server", server.url)

    assert ended.status == 1
    assert "LOUPE_API_KEY holds" in ended.err
    assert server.requests == []
