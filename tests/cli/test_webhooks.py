from __future__ import annotations

import json

from tests.cli.conftest import Received, Run, Server, as_json

WEBHOOK = {
    "id": "whk_01", "url": "https://hooks.example/loupe", "events": None, "products": ["screws"],
    "note": "Line 2", "enabled": False, "disabled_reason": "The receiver answered 410.", "rotated_at": None,
    "created_at": "2026-01-01T00:00:00.000Z",
}  # fmt: skip
DELIVERY = {
    "id": "dlv_01", "event": "evt_01", "type": "job.ended", "product": "screws", "status": "pending",
    "attempts": 3, "status_code": 500, "error": "It answered 500: no",
    "created_at": "2026-01-01T00:00:00.000Z",
    "attempted_at": "2026-01-01T00:00:00.000Z", "next_attempt_at": "2026-01-01T02:00:00.000Z",
}  # fmt: skip


def sent(server: Server) -> tuple[str, str, object]:
    request: Received = server.requests[-1]
    return request.method, request.path, json.loads(request.body) if request.body else None


def test_create_shows_the_secret_once_and_says_what_is_next(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({**WEBHOOK, "secret": "whsec_abc"}, 201)
    ended = loupe(
        *("webhook", "create", "https://hooks.example/loupe", "--event", "job.ended", "--event", "disk.low"),
        *("--product", "screws", "--note", "Line 2", "--server", server.url),
    )
    assert ended.status == 0
    assert "Secret: whsec_abc" in ended.out
    assert "loupe webhook test whk_01" in ended.err
    body = {
        "url": "https://hooks.example/loupe",
        "events": ["job.ended", "disk.low"],
        "products": ["screws"],
        "note": "Line 2",
    }
    assert sent(server) == ("POST", "/webhooks", body)
    server.answer = lambda _: as_json(WEBHOOK | {"secret": "whsec_def"})
    assert "whsec_def" in loupe("webhook", "rotate", "whk_01", "--server", server.url).out


def test_list_and_show_say_whether_it_is_enabled_and_why_not(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({"data": [WEBHOOK], "has_more": False, "next_cursor": None})
    [row] = loupe("webhooks", "--server", server.url).out.splitlines()[1:]
    assert row.split()[:5] == ["whk_01", "https://hooks.example/loupe", "all", "screws", "disabled"]
    server.answer = lambda _: as_json(WEBHOOK)
    shown = loupe("webhook", "show", "whk_01", "--server", server.url).out
    assert "The receiver answered 410." in shown


def test_update_sends_only_what_was_given(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json(WEBHOOK)
    assert loupe("webhook", "update", "whk_01", "--enable", "--server", server.url).status == 0
    assert sent(server) == ("PATCH", "/webhooks/whk_01", {"enabled": True})
    assert loupe("webhook", "update", "whk_01", "--disable", "--server", server.url).status == 0
    assert sent(server) == ("PATCH", "/webhooks/whk_01", {"enabled": False})
    ended = loupe("webhook", "update", "whk_01", "--server", server.url)
    assert ended.status == 1
    assert "Nothing to change" in ended.err


def test_a_test_that_fails_is_an_error_with_its_hint(loupe: Run, server: Server) -> None:
    outcome = {"delivery": "dlv_01", "delivered": True, "status_code": 204, "seconds": 0.05, "error": None}
    server.answer = lambda _: as_json(outcome | {"hint": None})
    ended = loupe("webhook", "test", "whk_01", "--server", server.url)
    assert (ended.status, ended.out) == (0, "The receiver answered 204 in 0.05 s.\n")
    failed = {"delivered": False, "error": "It answered 404.", "hint": "Is the path right?"}
    server.answer = lambda _: as_json(outcome | failed)
    ended = loupe("webhook", "test", "whk_01", "--server", server.url)
    assert ended.status == 1
    assert "It answered 404." in ended.err
    assert "Is the path right?" in ended.err
    ended = loupe("webhook", "test", "whk_01", "--json", "--server", server.url)
    assert (ended.status, ended.json["delivered"]) == (1, False)


def test_the_log_is_shown_and_a_delivery_sent_again(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({"data": [DELIVERY], "has_more": False, "next_cursor": None})
    [row] = loupe("webhook", "deliveries", "whk_01", "--server", server.url).out.splitlines()[1:]
    assert row.split()[:5] == ["dlv_01", "job.ended", "screws", "pending", "3"]
    assert "It answered 500: no" in row
    server.answer = lambda _: as_json(DELIVERY, 202)
    assert loupe("webhook", "retry", "whk_01", "dlv_01", "--server", server.url).status == 0
    assert sent(server)[:2] == ("POST", "/webhooks/whk_01/deliveries/dlv_01/retry")


def test_delete_deletes(loupe: Run, server: Server) -> None:
    server.answer = lambda _: (204, "application/json", b"")
    assert loupe("webhook", "delete", "whk_01", "--yes", "--server", server.url).status == 0
    assert sent(server) == ("DELETE", "/webhooks/whk_01", None)
