from __future__ import annotations

import json
from typing import Any

import pytest

from app.schemas.job_kinds import JOB_KINDS
from tests.cli.answers import answer_everything
from tests.cli.conftest import Answer, Received, Run, Server, as_json

ERROR: dict[str, Any] = {
    "type": "/problems/crashed",
    "code": "crashed",
    "title": "Crashed",
    "status": 500,
    "detail": "The process was killed by signal 9.",
    "hint": "Look at the memory.",
    "retryable": True,
    "errors": [],
}
COMMANDS = {
    "training": "train screws --follow",
    "import": "dataset import screws {archive}",
    "revision": "dataset edit dst_1 --remove good/1.png",
    "examination": "dataset examine dst_1",
    "evaluation": "evaluate job_1",
    "export": "dataset export dst_1 --to {archive}.tar",
    "model_export": "model download mdl_1 --format onnx --output {archive}.onnx",
    "model_import": "model import {archive} --product screws",
    "prediction": "predict screws {archive} --batch",
}


def _end_as(server: Server, kind: str, status: str, error: Any) -> None:
    """Every job is of the kind and has ended so, and every request makes such a job."""

    def answer(request: Received) -> Answer:
        made = answer_everything(request)
        content = json.loads(made[2])
        if "gate_rules" in content or (request.path.startswith("/jobs") and request.method == "POST"):
            made_by = {"id": "job_9", "kind": kind, "status": status, "error": error, "model": None}
            return as_json(
                {**json.loads(answer_everything(_GET)[2]), **made_by, "stop_reason": None, "sweep": None}
            )
        if "source" in content:
            content["job"] = "job_9"
        if request.path.startswith("/predictions"):
            content |= {"id": "job_9", "status": status, "error": error}
        if request.path.partition("?")[0].endswith("/events"):
            content = {"data": [], "has_more": False, "next_cursor": 0}
        return as_json(content)

    server.answer = answer


_GET = Received("GET", "/jobs/job_9", {}, b"")


def test_every_kind_of_job_has_a_command_here() -> None:
    assert set(COMMANDS) == set(JOB_KINDS)


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_a_job_that_failed_is_named_with_its_error_and_what_to_do(
    loupe: Run, server: Server, tmp_path: Any, kind: str
) -> None:
    _end_as(server, kind, "failed", ERROR)
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"x")

    for command in (COMMANDS[kind].format(archive=archive), "job follow job_9"):
        ended = loupe(*command.split(), "--server", server.url)

        assert ended.status == 1, command
        assert f"The {kind} job_9 failed." in ended.err
        assert ERROR["detail"] in ended.err
        assert "hint: Look at the memory." in ended.err
        assert "loupe job retry job_9" in ended.err
        assert not ended.out.strip()


@pytest.mark.parametrize("kind", JOB_KINDS)
@pytest.mark.parametrize(
    ("status", "said"),
    [("failed", "failed."), ("cancelled", "was cancelled."), ("paused", "loupe job resume job_9")],
)
def test_a_job_without_an_error_that_did_not_succeed_is_named_too(
    loupe: Run, server: Server, kind: str, status: str, said: str
) -> None:
    _end_as(server, kind, status, None)

    ended = loupe("job", "follow", "job_9", "--server", server.url)

    assert ended.status == 1
    assert f"The {kind} job_9" in ended.err
    assert said in ended.err


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_with_json_the_status_says_it_and_the_document_is_whole(
    loupe: Run, server: Server, kind: str
) -> None:
    _end_as(server, kind, "failed", ERROR)

    ended = loupe("job", "follow", "job_9", "--json", "--server", server.url)

    assert (ended.status, ended.json["error"]["detail"]) == (1, ERROR["detail"])


def test_a_candidate_that_rests_is_left_to_its_sweep(loupe: Run, server: Server) -> None:
    _end_as(server, "training", "paused", None)
    answer = server.answer

    def of_sweep(request: Received) -> Answer:
        content = json.loads(answer(request)[2])
        return as_json({**content, "sweep": "swp_1"} if "gate_rules" in content else content)

    server.answer = of_sweep

    ended = loupe("job", "follow", "job_9", "--server", server.url)

    assert "loupe sweep show swp_1" in ended.err
    assert "resume" not in ended.err


def test_a_training_shows_what_stands_out_in_it_and_at_its_end_without_the_notes(
    loupe: Run, server: Server
) -> None:
    _end_as(server, "training", "succeeded", None)
    answer = server.answer
    rows = [
        {
            "code": "rate_too_low",
            "level": "error",
            "finding": "the learning rate is too low",
            "evidence": "The train loss went from 2.3 to 2.3.",
            "advice": "Train with a learning_rate of 0.001.",
            "command": "loupe train screws --set learning_rate=0.001",
        },
        {
            "level": "note",
            "finding": "nothing has looked",
            "evidence": "",
            "advice": "Look.",
            "command": None,
        },
    ]

    def with_findings(request: Received) -> Answer:
        if request.path.endswith("/findings"):
            return as_json({"job": "job_9", "data": rows})
        if "/metrics" in request.path:
            return as_json({"test": None})
        return answer(request)

    server.answer = with_findings

    shown = loupe("job", "show", "job_9", "--server", server.url)
    ended = loupe("job", "follow", "job_9", "--server", server.url)

    for printed in (shown.out, ended.out):
        assert "error: the learning rate is too low.\n" in printed
        assert "  The train loss went from 2.3 to 2.3. Train with a learning_rate of 0.001.\n" in printed
        assert f" train screws --set learning_rate=0.001 --server {server.url}\n" in printed
    assert "note: nothing has looked." in shown.out
    assert "note:" not in ended.out
