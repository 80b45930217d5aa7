from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli.client import CommandError
from app.cli.quantities import parse_bytes, parse_duration
from tests.cli.answers import UNTYPED, answer_everything
from tests.cli.conftest import Answer, Received, Run, Server, as_json

CANDIDATE: dict[str, Any] = {
    "network": "mobilenet_v3_small", "settings": {}, "job": "job_1", "job_status": "succeeded",
    "standing": "won", "reason": None, "place": 1, "accuracy": {"value": 0.9833, "low": 0.91, "high": 0.997},
    "loss": 0.1, "best_epoch": 18, "epoch": 20, "epochs": 20, "rungs": [5, 10, 20], "milliseconds": 1.23,
    "bytes": 6_100_000, "is_timed": True, "on_front": True, "seconds": 200.0, "model": "mdl_1",
    "test_accuracy": 0.97,
}  # fmt: skip
FAILED: dict[str, Any] = {
    **CANDIDATE, "network": "inception_resnet_v2", "job": "job_2", "job_status": "failed",
    "standing": "failed", "reason": "Out of memory.", "accuracy": None, "epoch": 0, "milliseconds": 192.23,
    "bytes": 224_000_000, "on_front": False, "is_timed": False, "seconds": 3700.0, "model": None,
}  # fmt: skip
SWEEP: dict[str, Any] = {
    "id": "swp_1", "status": "running", "product": "screws", "dataset": {"id": "dst_1", "digest": "d"},
    "split": {"counts": {"train": 70, "valid": 15, "test": 15}}, "cut": 0, "cuts": 2, "winner": None,
    "model": None, "candidates": [{**CANDIDATE, "epoch": 0, "standing": "racing", "accuracy": None}, FAILED],
    "skipped": [], "events": [], "error": None, "seconds": None, "budget_seconds": 7200.0,
    "estimated_seconds": 3000.0, "created_at": "2026-01-02T03:04:05.678Z",
}  # fmt: skip
ENDED = {
    **SWEEP, "status": "succeeded", "winner": "job_1", "model": "mdl_1", "candidates": [CANDIDATE, FAILED],
    "events": [{"at": "2026-01-02T03:04:05.678Z", "type": "winner", "detail": "mobilenet_v3_small"}],
}  # fmt: skip


def serve(server: Server, *sweeps: dict[str, Any], passed: bool = True) -> None:
    """The sweep is as each of these in turn, then as the last."""
    states = list(sweeps)

    def answer(request: Received) -> Answer:
        if request.path.startswith("/sweeps"):
            return as_json(states.pop(0) if len(states) > 1 else states[0])
        made = answer_everything(request)
        content = json.loads(made[2])
        if "/metrics" in request.path:
            return as_json({**content, "test": {"items": 100, **UNTYPED["metrics"]}})
        if "gate_rules" in content:
            gate = {"passed": passed, "reasons": [], "became_champion": passed}
            return as_json({**content, "id": "job_1", "kind": "training", "product": "screws", "gate": gate})
        return made

    server.answer = answer


def sent(server: Server) -> Any:
    return json.loads(server.requests[0].body)


def test_a_sweep_is_followed_to_its_table_and_to_the_test_of_its_winner(loupe: Run, server: Server) -> None:
    serve(server, SWEEP, SWEEP, ENDED)

    ended = loupe(
        "sweep", "screws", "--networks", "mobilenet_v3_small, inception_resnet_v2", "--server", server.url
    )

    assert ended.status == 0
    assert server.requests[0].path == "/sweeps"
    assert sent(server)["networks"] == ["mobilenet_v3_small", "inception_resnet_v2"]
    assert "winner: mobilenet_v3_small" in ended.out
    assert "mobilenet_v3_small  epoch 20/20  valid accuracy 0.9833" in ended.out
    rows = [
        line for line in ended.out.splitlines() if line.startswith(("mobilenet_v3_small   ", "inception"))
    ]
    assert rows[0].split() == [
        "mobilenet_v3_small", "0.983", "0.91-1.00", "1.2", "6.1", "3:20", "20/20", "won", "✓",
    ]  # fmt: skip
    assert rows[1].split() == ["inception_resnet_v2", "~192", "~224", "1:01:40", "0/20", "failed"]
    assert max(map(len, ended.out.splitlines()[2:5])) <= 80
    assert "inception_resnet_v2 failed: Out of memory." in ended.out
    assert "test accuracy" in ended.out


def test_a_winner_that_failed_its_gate_is_no_success(loupe: Run, server: Server) -> None:
    serve(server, ENDED, passed=False)

    assert loupe("sweep", "follow", "swp_1", "--server", server.url).status == 1


def test_a_sweep_that_failed_says_why(loupe: Run, server: Server) -> None:
    error = {"detail": "The dataset was deleted.", "hint": "Import it again.", "errors": []}
    serve(server, {**SWEEP, "status": "failed", "error": error})

    ended = loupe("sweep", "follow", "swp_1", "--server", server.url)

    assert ended.status == 1
    assert "error: The dataset was deleted." in ended.err


def test_every_option_reaches_the_request_in_the_units_of_the_api(loupe: Run, server: Server) -> None:
    serve(server, SWEEP)

    ended = loupe(
        *("sweep", "--all", "screws", "--budget", "1h30min", "--max-ms", "5", "--max-bytes", "10MB"),
        *("--dataset", "dst_1", "--epochs", "3", "--image-size", "96x128", "--min-accuracy", "0.9"),
        *("--device", "cpu", "--all-models", "--drop", "odd", "--set", "split.train=0.6"),
        *("--grid", "learning_rate=0.1,0.01", "--grid", "augmentation=light,strong", "--detach"),
        *("--server", server.url),
    )

    assert ended.status == 0
    assert ended.out.strip() == "swp_1"
    assert sent(server) == {
        "product": "screws", "networks": "all", "budget_seconds": 5400.0, "max_milliseconds": 5.0,
        "max_bytes": 10_000_000, "dataset": "dst_1",
        "hyperparameters": {"epochs": 3, "image_size": [96, 128]},
        "gate": {"min_accuracy": 0.9}, "device": "cpu", "keep": "all", "class_map": {"drop": ["odd"]},
        "split": {"train": 0.6},
        "grid": {"learning_rate": [0.1, 0.01], "augmentation": ["light", "strong"]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep", "screws"], "--budget 2h"),
        (["sweep", "screws", "--all", "--networks", "a"], "contradict"),
        (["sweep", "screws", "--budget", "soon"], "is not a duration"),
        (["sweep", "screws", "--max-bytes", "10 apples"], "is not a size"),
        (["sweep", "screws", "--all", "--grid", "dropout"], "is not NAME=A,B"),
    ],
)
def test_what_makes_no_request_is_said_before_one_is_sent(
    loupe: Run, server: Server, words: list[str], said: str
) -> None:
    ended = loupe(*words, "--server", server.url)

    assert ended.status == 1
    assert said in ended.err
    assert server.requests == []


def test_a_verb_that_is_misspelt_is_no_product(loupe: Run) -> None:
    ended = loupe("sweep", "cancle", "swp_1")

    assert ended.status == 2
    assert "'cancel'" in ended.err


def test_sweeps_are_listed_with_their_best_and_shown_and_cancelled(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({"data": [ENDED], "has_more": False, "next_cursor": None})
    listed = loupe("sweeps", "--server", server.url)
    assert "swp_1" in listed.out
    assert "0.9833" in listed.out

    serve(server, ENDED)
    shown = loupe("sweep", "show", "swp_1", "--server", server.url)
    assert "train 70, valid 15, test 15" in shown.out
    assert "0 of 2" in shown.out

    serve(server, {**SWEEP, "status": "cancelled"})
    assert loupe("sweep", "cancel", "swp_1", "--server", server.url).out == "swp_1 is cancelled.\n"


def test_durations_and_sizes_are_read_as_people_write_them() -> None:
    written = {"90": 90, "90s": 90, "2h": 7200, "1h30min": 5400, "1.5 h": 5400, "1d 2h": 93_600}
    assert {text: parse_duration(text) for text in written} == written
    sizes = {"12": 12, "500kB": 500_000, "1.5GiB": 1_610_612_736, "10 MB": 10_000_000}
    assert {text: parse_bytes(text) for text in sizes} == sizes
    for text in ("", "h", "2 hours", "2h x", "-1h"):
        with pytest.raises(CommandError):
            parse_duration(text)
