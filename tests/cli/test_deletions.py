"""``loupe dataset delete`` and ``loupe product delete``"""

from __future__ import annotations

import io
import sys

import pytest

from app.cli import console
from tests.cli.conftest import Answer, Received, Run, Server, as_json, as_problem


def _job(kind: str, model: str | None = None) -> dict[str, object]:
    return {"id": "job_1", "kind": kind, "model": model, "dataset": {"id": "dst_1"}}


JOBS = [
    _job("import"),
    _job("training", "mdl_1"),
    _job("training"),
    {**_job("export"), "dataset": {"id": "x"}},
]
DATASET = {"id": "dst_1", "product": "screws", "source": "screws.zip", "items": 300}


def _answer(request: Received) -> Answer:
    if request.method == "DELETE":
        return 204, "application/json", b""
    if request.path.startswith("/datasets/"):
        return as_json(DATASET)
    rows = JOBS if request.path.startswith("/jobs") else [DATASET]
    return as_json({"data": rows, "has_more": False, "next_cursor": None})


def _deleted(server: Server) -> list[str]:
    return [request.path for request in server.requests if request.method == "DELETE"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _type(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal(answer + "\n"))
    monkeypatch.setattr(console.err, "_force_terminal", True)


def test_a_script_that_deletes_a_dataset_is_not_asked(loupe: Run, server: Server) -> None:
    server.answer = _answer
    ended = loupe("dataset", "delete", "dst_1", "--server", server.url)
    assert ended.status == 0
    assert "Dataset dst_1 is deleted with 300 images, 2 trainings, 1 model." in ended.out
    assert _deleted(server) == ["/datasets/dst_1"]


@pytest.mark.parametrize("what", [("dataset", "delete", "dst_1"), ("product", "delete", "screws")])
def test_force_without_a_terminal_needs_yes(loupe: Run, server: Server, what: tuple[str, ...]) -> None:
    server.answer = _answer
    ended = loupe(*what, "--force", "--server", server.url)
    assert ended.status == 1
    assert "--yes" in ended.err
    assert _deleted(server) == []
    assert loupe(*what, "--force", "--yes", "--server", server.url).status == 0
    assert _deleted(server) == [f"/{what[0]}s/{what[2]}?force=true"]


def test_what_depends_on_a_dataset_is_printed(loupe: Run, server: Server) -> None:
    refused = as_problem(
        409,
        "conflict",
        "Dataset dst_1 cannot be deleted: 1 model was trained on it.",
        errors=[{"pointer": "/models/mdl_1", "message": "version 3"}],
        hint="add `?force=true` (`--force`)",
    )
    server.answer = lambda request: refused if request.method == "DELETE" else _answer(request)
    ended = loupe("dataset", "delete", "dst_1", "--server", server.url)
    assert ended.status == 1
    assert "/models/mdl_1: version 3" in ended.err
    assert "--force" in ended.err


@pytest.mark.parametrize(("typed", "deleted"), [("y", ["/datasets/dst_1"]), ("n", []), ("", [])])
def test_on_a_terminal_a_dataset_goes_after_a_yes(
    loupe: Run, server: Server, monkeypatch: pytest.MonkeyPatch, typed: str, deleted: list[str]
) -> None:
    server.answer = _answer
    _type(monkeypatch, typed)
    ended = loupe("dataset", "delete", "dst_1", "--server", server.url)
    assert "300 images, 2 trainings, 1 model" in ended.err + ended.out
    assert (ended.status, _deleted(server)) == (0 if deleted else 1, deleted)


@pytest.mark.parametrize(("typed", "deleted"), [("screws", ["/products/screws?force=true"]), ("y", [])])
def test_on_a_terminal_a_whole_product_goes_when_its_name_is_typed(
    loupe: Run, server: Server, monkeypatch: pytest.MonkeyPatch, typed: str, deleted: list[str]
) -> None:
    server.answer = _answer
    _type(monkeypatch, typed)
    ended = loupe("product", "delete", "screws", "--force", "--server", server.url)
    assert (ended.status, _deleted(server)) == (0 if deleted else 1, deleted)
