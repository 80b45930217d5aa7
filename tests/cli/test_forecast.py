"""``loupe train PRODUCT --forecast``"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.cli.conftest import Answer, Received, Run, Server, as_json

FORECAST: dict[str, Any] = {
    "time": {
        "seconds": {"expected": 600.0, "low": 500.0, "high": 720.0},
        "stages": [{"stage": "training", "seconds": 580.0}],
        "trainings_before": 2,
        "basis": "3 past trainings of efficientnet_lite0 here",
    },
    "memory": {"bytes": {"expected": 3e9, "low": 2e9, "high": 4e9}, "basis": "the network's size"},
    "disk": {"running_bytes": 900_000_000, "kept_bytes": 400_000_000},
    "accuracy": {
        "test": {"expected": 0.982, "low": 0.95, "high": 0.995},
        "curve": [{"images": 100, "accuracy": 0.9}, {"images": 400, "accuracy": 0.975}],
        "twice_the_images": {"expected": 0.985, "low": 0.98, "high": 0.99},
        "basis": "linear classifiers",
    },
    "unknown": [],
}
PLAN: dict[str, Any] = {
    "product": "screws", "dataset": {"id": "dst_1", "digest": "d"}, "network": "efficientnet_lite0",
    "hyperparameters": {"epochs": 4}, "split": {"counts": {"train": 7, "valid": 2, "test": 1}},
    "gate_rules": {"min_accuracy": 0.0, "on_failure": "keep"}, "seed": 0, "device": "auto", "gpus": 1,
    "forecast": FORECAST,
}  # fmt: skip
DATASET = {
    "source": "screws.zip",
    "items": 10,
    "classes": [{"name": "good", "count": 10}],
    "created_at": "2026-01-01T00:00:00Z",
    "status": "ready",
}


def answering(plan: dict[str, Any]) -> Callable[[Received], Answer]:
    """A server that plans so, and has the dataset that it plans with."""
    return lambda request: as_json(DATASET if request.path.startswith("/datasets/") else plan)


def test_it_shows_each_figure_with_its_interval_and_starts_nothing(loupe: Run, server: Server) -> None:
    server.answer = answering(PLAN)
    ended = loupe("train", "screws", "--forecast", "--server", server.url)
    assert ended.status == 0
    assert "10 min 0 s (4 of 5 trainings: 8 min 20 s to 12 min 0 s)" in ended.out
    assert "0.982 (95 %: 0.950 to 0.995)" in ended.out
    assert "0.900 from 100, 0.975 from 400" in ended.out
    assert "0.985 (95 %: 0.980 to 0.990)" in ended.out
    assert "whose time is not in this: 2" in ended.out
    assert "Time: 3 past trainings of efficientnet_lite0 here." in ended.err
    assert "Nothing was started." in ended.err
    assert "epochs" not in ended.out
    assert [request.path for request in server.requests] == ["/jobs?dry_run=true", "/datasets/dst_1"]


def test_what_is_not_known_is_said_with_the_command_that_would_tell(loupe: Run, server: Server) -> None:
    unknown = {"what": "accuracy", "why": "It was not examined.", "command": "loupe dataset examine dst_1"}
    server.answer = answering({**PLAN, "forecast": {**FORECAST, "accuracy": None, "unknown": [unknown]}})
    ended = loupe("train", "screws", "--forecast", "--server", server.url)
    assert "Not known: accuracy. It was not examined." in ended.out
    assert "loupe dataset examine dst_1" in ended.out


def test_with_dry_run_the_settings_are_shown_too_and_json_is_the_answer(loupe: Run, server: Server) -> None:
    server.answer = answering(PLAN)
    both = loupe("train", "screws", "--dry-run", "--forecast", "--server", server.url)
    assert "epochs" in both.out
    assert "twice the images" in both.out
    assert both.err.count("Nothing was started.") == 1
    plain = loupe("train", "screws", "--forecast", "--json", "--server", server.url)
    assert json.loads(plain.out)["forecast"] == FORECAST


def test_an_older_server_makes_none_and_the_command_says_so(loupe: Run, server: Server) -> None:
    server.answer = answering({name: value for name, value in PLAN.items() if name != "forecast"})
    ended = loupe("train", "screws", "--forecast", "--server", server.url)
    assert ended.status == 1
    assert "makes no forecasts" in ended.err
    assert loupe("train", "screws", "--dry-run", "--server", server.url).status == 0
