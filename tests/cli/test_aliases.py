"""``loupe promote`` and ``loupe alias``"""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Answer, Received, Run, Server, as_json, as_problem

ALIAS = {
    "name": "champion",
    "product": "screws",
    "model": "mdl_2",
    "moved_at": "2026-01-02T03:04:05.000Z",
}
MOVE = {
    "id": "mov_1", "from_model": "mdl_1", "to_model": "mdl_2", "moved_by": "job_2", "reason": "It is better.",
    "is_override": False, "moved_at": "2026-01-02T03:04:05.000Z",
}  # fmt: skip


def _page(*rows: object) -> Answer:
    return as_json({"data": rows, "has_more": False, "next_cursor": None})


def test_promote_points_the_champion_at_a_model(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json(ALIAS)
    ended = loupe("promote", "screws", "mdl_2", "--server", server.url)
    assert ended.status == 0
    assert "screws@champion is mdl_2." in ended.out
    [asked] = server.requests
    assert (asked.method, asked.path) == ("PUT", "/products/screws/aliases/champion")
    assert json.loads(asked.body) == {"model": "mdl_2", "reason": None, "override": False}


def test_promote_takes_another_alias_a_reason_and_an_override(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({**ALIAS, "name": "canary"})
    options = ("--alias", "canary", "--reason", "a week on line 2", "--override")
    assert loupe("promote", "screws", "mdl_2", *options, "--server", server.url).status == 0
    [asked] = server.requests
    assert asked.path == "/products/screws/aliases/canary"
    assert json.loads(asked.body) == {"model": "mdl_2", "reason": "a week on line 2", "override": True}


def test_promote_says_why_a_model_is_refused(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_problem(
        422, "gate_failed", "Model mdl_2 failed its gate.", hint="Set override"
    )
    ended = loupe("promote", "screws", "mdl_2", "--server", server.url)
    assert ended.status == 1
    assert "failed its gate" in ended.err


def test_rollback_goes_one_step_back_and_the_history_marks_it(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({**ALIAS, "model": "mdl_1"})
    ended = loupe("rollback", "screws", "--reason", "rejects", "--server", server.url)
    assert "screws@champion is mdl_1 again." in ended.out
    [asked] = server.requests
    assert (asked.method, asked.path) == ("POST", "/products/screws/rollback")
    assert json.loads(asked.body) == {"alias": "champion", "reason": "rejects"}
    server.answer = lambda _: _page({**MOVE, "is_rollback": True, "reason": "rejects"})
    assert "(rollback) rejects" in loupe("alias", "history", "screws", "--server", server.url).out


@pytest.mark.parametrize("words", [("alias", "list"), ("aliases",), ("aliases", "list")])
def test_aliases_of_one_product_are_listed(loupe: Run, server: Server, words: tuple[str, ...]) -> None:
    server.answer = lambda _: as_json([ALIAS])
    ended = loupe(*words, "screws", "--server", server.url)
    assert ended.status == 0
    assert "mdl_2" in ended.out
    assert [asked.path for asked in server.requests] == ["/products/screws/aliases"]


def test_aliases_of_all_products_are_listed(loupe: Run, server: Server) -> None:
    def answer(request: Received) -> Answer:
        if request.path.startswith("/products?"):
            return _page({"id": "screws"}, {"id": "nuts"})
        return as_json([{**ALIAS, "product": request.path.split("/")[2]}])

    server.answer = answer
    listed = loupe("aliases", "--server", server.url, "--json").json
    assert [row["product"] for row in listed] == ["screws", "nuts"]


def test_the_history_tells_who_and_why_and_what_was_overridden(loupe: Run, server: Server) -> None:
    by_hand = {**MOVE, "moved_by": None, "reason": "harder images", "is_override": True}
    removed = {**MOVE, "to_model": None, "moved_by": None, "reason": None}
    server.answer = lambda _: _page(removed, by_hand, MOVE)
    ended = loupe("alias", "history", "screws", "canary", "--server", server.url)
    assert ended.status == 0
    for words in ("(override) harder images", "a client", "job_2", "It is better.", "removed"):
        assert words in ended.out
    assert server.requests[0].path.startswith("/products/screws/aliases/canary/history?")


def test_the_history_is_that_of_the_champion_if_no_alias_is_named(loupe: Run, server: Server) -> None:
    server.answer = lambda _: _page()
    assert loupe("aliases", "history", "screws", "--server", server.url).status == 0
    assert server.requests[0].path.startswith("/products/screws/aliases/champion/history?")


def test_an_alias_is_removed(loupe: Run, server: Server) -> None:
    server.answer = lambda _: (204, "application/json", b"")
    assert loupe("alias", "remove", "screws", "canary", "--server", server.url).status == 0
    assert (server.requests[0].method, server.requests[0].path) == (
        "DELETE",
        "/products/screws/aliases/canary",
    )
