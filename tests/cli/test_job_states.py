"""How a job stands reads alike in every list, and a training without a model has not simply succeeded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.answers import answer_everything
from tests.cli.conftest import Received, Run, Server, as_json

ENDED: dict[str, Any] = {"status": "succeeded", "kind": "training", "stage": None, "stop_reason": "completed"}
WAITING: dict[str, Any] = {"status": "queued", "kind": "training", "stage": None, "model": None}


def _answer_with(server: Server, field: str, changed: dict[str, Any]) -> None:
    """Everything that has ``field`` stands as ``changed`` says."""

    def answer(request: Received) -> Any:
        content = json.loads(answer_everything(request)[2])
        path = request.path.partition("?")[0]
        if path.endswith("/events"):
            content = {"data": [], "has_more": False, "next_cursor": 0}
        if path.endswith("/metrics"):
            content["test"] = None
        for one in [content, *content.get("data", [])]:
            if field in one:
                one.update(changed)
        return as_json(content)

    server.answer = answer


CASES: list[tuple[dict[str, Any], str]] = [
    ({**ENDED, "model": None, "gate": {"passed": False, "reasons": []}}, "succeeded, no model"),
    ({**ENDED, "gate": {"passed": False, "reasons": []}}, "succeeded, below gate"),
    ({**ENDED, "gate": {"passed": True, "reasons": []}}, "succeeded"),
    ({**WAITING, "waits_for": None, "place": 3}, "place 3"),
    ({**WAITING, "waits_for": "A GPU: none is free.", "place": 3}, "place 3|none is free"),
    ({"status": "running", "kind": "training", "stage": "verifying", "model": None}, "verifying"),
]


@pytest.mark.parametrize(
    ("command", "changed", "said"),
    [
        (command, changed, said)
        for command in ("job list", "job show job_1", "job follow job_1")
        for changed, said in CASES
        if command != "job follow job_1" or changed["status"] == "succeeded"
    ],
)
def test_every_list_says_how_a_job_stands(
    loupe: Run, server: Server, command: str, changed: dict[str, Any], said: str
) -> None:
    _answer_with(server, "gate_rules", changed)

    ended = loupe(*command.split(), "--server", server.url)

    assert any(words in ended.out for words in said.split("|")), ended.out + ended.err
    if said == "succeeded":
        assert "no model" not in ended.out
        assert "below gate" not in ended.out


@pytest.mark.parametrize("command", ["sweep list", "sweep show swp_1"])
@pytest.mark.parametrize("model", [None, "mdl_1"])
def test_a_sweep_without_a_model_reads_differently_too(
    loupe: Run, server: Server, command: str, model: str | None
) -> None:
    _answer_with(server, "cuts", {"status": "succeeded", "model": model})

    ended = loupe(*command.split(), "--server", server.url)

    assert ("succeeded, no model" in ended.out) is (model is None)
