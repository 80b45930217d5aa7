"""Rules of a product's gate: ``loupe product create``, ``update`` and ``show``, and of a job in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli.jobs import describe_gate
from tests.cli.conftest import Answer, Received, Run, Server, as_json

GATE = {"min_accuracy": 0.9, "min_recall": {"crack": 0.99}, "max_bytes": 5_000_000, "max_milliseconds": 12.5}
PRODUCT = {
    "id": "screws", "name": "screws", "default_network": None, "gate": GATE, "promise": {"max_error": 0.01},
    "champion": None, "created_at": "2026-01-02T03:04:05.000Z",
}  # fmt: skip


def answer(_request: Received) -> Answer:
    return as_json(PRODUCT)


def sent(server: Server) -> Any:
    return json.loads(server.requests[-1].body)["gate"]


def test_a_product_is_made_with_its_rules(loupe: Run, server: Server) -> None:
    server.answer = answer
    rules = ("--min-recall", "crack=0.99", "--min-recall", "a=b=0.5", "--min-recall", "dent=0")
    limits = ("--max-bytes", "5MB", "--max-milliseconds", "12.5")
    assert loupe("product", "create", "screws", *rules, *limits, "--server", server.url).status == 0
    floors = {"crack": 0.99, "a=b": 0.5}
    assert sent(server) == {"min_recall": floors, "max_bytes": 5_000_000, "max_milliseconds": 12.5}


def test_rules_are_changed_and_taken_away(loupe: Run, server: Server) -> None:
    server.answer = answer
    rules = ("--min-recall", "crack=0", "--max-bytes", "0", "--max-milliseconds", "0", "--min-accuracy", "0")
    assert loupe("product", "update", "screws", *rules, "--server", server.url).status == 0
    assert sent(server) == {
        "min_accuracy": 0.0,
        "min_recall": {"crack": None},
        "max_bytes": None,
        "max_milliseconds": None,
    }


@pytest.mark.parametrize("floor", ["crack", "=0.5", "crack=", "crack=1.5", "crack=-1", "crack=nan"])
def test_a_floor_that_is_none_is_refused_before_it_is_sent(loupe: Run, server: Server, floor: str) -> None:
    ended = loupe("product", "update", "screws", "--min-recall", floor, "--server", server.url)
    assert (ended.status, "--min-recall crack=0.99" in ended.err) == (1, True)
    assert server.requests == []


def test_a_product_shows_its_rules(loupe: Run, server: Server) -> None:
    server.answer = answer
    shown = loupe("product", "show", "screws", "--server", server.url).out
    assert "recall of crack at least 0.99; at most 5,000,000 bytes; at most 12.5 ms a prediction" in shown


def test_a_product_of_an_older_server_is_shown(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({**PRODUCT, "gate": {"min_accuracy": 0.9}})
    shown = loupe("product", "show", "screws", "--server", server.url)
    assert (shown.status, "recall" in shown.out) == (0, False)


def test_the_gate_of_a_job_in_words() -> None:
    assert describe_gate({**GATE, "on_failure": "keep"}) == (
        "test accuracy at least 0.9; recall of crack at least 0.99; at most 5,000,000 bytes; "
        "at most 12.5 ms a prediction; or else the model is kept"
    )
