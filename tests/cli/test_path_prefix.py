"""A Loupe behind a proxy that gives it a path of its own, such as https://host/loupe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.answers import answer_everything
from tests.cli.conftest import Answer, Received, Run, Server, as_problem

VERBS = (
    "product list",
    "product show screws",
    "product create screws",
    "product update screws --min-accuracy 0.9",
    "product delete screws",
    "dataset list",
    "dataset list screws",
    "dataset show dst_1",
    "dataset items dst_1",
    "dataset import screws {file} --no-wait",
    "dataset import screws {file}",
    "dataset export dst_1 --to {file}.tar",
    "job list",
    "job show job_1",
    "job follow job_1",
    "job stop job_1",
    "job pause job_1",
    "job resume job_1",
    "job cancel job_1",
    "job retry job_1",
    "job delete job_1",
    "job metrics job_1 --csv",
    "job logs job_1",
    "job logs job_1 --follow",
    "job events job_1",
    "model list",
    "model show mdl_1",
    "alias list screws",
    "alias history screws champion",
    "alias remove screws champion",
    "promote screws mdl_1",
    "rollback screws",
    "leaderboard screws",
    "compare job_1 job_2",
    "network list",
    "workers list",
    "train screws",
    "evaluate job_1 --json",
    "predict screws {file}",
)


@pytest.mark.parametrize("ending", ["/proxied/loupe", "/proxied/loupe/"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_request_of_every_verb_keeps_the_prefix(
    loupe: Run, server: Server, tmp_path: Path, verb: str, ending: str
) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(b"x")

    def answer(request: Received) -> Answer:
        if not request.path.startswith("/proxied/loupe/"):
            return as_problem(404, "not_found", "Lost.")
        path = request.path.removeprefix("/proxied/loupe")
        assert not path.startswith("//")
        return answer_everything(replace(request, path=path))

    server.answer = answer
    loupe(*verb.format(file=file).split(), "--server", server.url + ending)

    lost = [request.path for request in server.requests if not request.path.startswith("/proxied/loupe/")]
    assert not lost
    assert server.requests or verb == "network list"


def test_an_address_with_a_query_is_refused(loupe: Run, server: Server) -> None:
    ended = loupe("products", "--server", f"{server.url}/loupe?x=1")

    assert ended.status == 1
    assert "query" in ended.err
    assert not server.requests
