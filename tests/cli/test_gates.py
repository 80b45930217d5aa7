"""Rules of a product's gate: ``loupe product create``, ``update`` and ``show``, and of a job in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli.jobs import describe_gate
from tests.cli.conftest import Answer, Received, Run, Server, as_json, as_problem

GATE = {"min_accuracy": 0.9, "min_recall": {"crack": 0.99}, "max_bytes": 5_000_000, "max_milliseconds": 12.5}
PRODUCT = {
    "id": "screws", "name": "screws", "default_network": None, "gate": GATE, "promise": {"max_error": 0.01},
    "champion": None, "created_at": "2026-01-02T03:04:05.000Z",
}  # fmt: skip


DAYS = [{"day": f"2026-01-0{day}", "images": 200, "answered": 190, "rejected": 10} for day in range(1, 7)]
DAYS.append({"day": "2026-01-07", "images": 3, "answered": 3, "rejected": 0})


def answer(request: Received) -> Answer:
    return as_json({"data": DAYS} if "/prediction-counts" in request.path else PRODUCT)


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
    def answer_as_before(request: Received) -> Answer:
        if request.path.partition("?")[0].endswith("/prediction-counts"):
            return as_problem(404, "not_found", "There is no such address.")
        return as_json({**PRODUCT, "gate": {"min_accuracy": 0.9}})

    server.answer = answer_as_before
    shown = loupe("product", "show", "screws", "--server", server.url)
    assert (shown.status, "recall" in shown.out, "asked about" in shown.out) == (0, False, False)


def test_a_product_shows_what_it_was_asked_about(loupe: Run, server: Server) -> None:
    server.answer = answer
    assert "3 images today, 1,203 in 7 days, of which 60 rejected" in " ".join(
        loupe("product", "show", "screws", "--server", server.url).out.split()
    )


def test_the_gate_of_a_job_in_words() -> None:
    assert describe_gate({**GATE, "on_failure": "keep"}) == (
        "test accuracy at least 0.9; recall of crack at least 0.99; at most 5,000,000 bytes; "
        "at most 12.5 ms a prediction; or else the model is kept"
    )
