from __future__ import annotations

import itertools
from typing import Any

import pytest

from app.cli import client as client_module
from app.cli.client import Client, CommandError, ServerError, is_away, quoted
from tests.cli.conftest import Run, Server, as_json, as_problem
from tests.ports import free_port


def test_a_problem_document_is_printed_with_its_fields_and_its_hint(loupe: Run, server: Server) -> None:
    errors = [{"pointer": "/hyperparameters/epocs", "message": "no such field"}]
    server.answer = lambda _: as_problem(
        422, "invalid_request", "Two fields are wrong.", hint="See /docs.", errors=errors
    )

    ended = loupe("train", "screws", "--server", server.url)

    assert ended.status == 1
    assert ended.out == ""
    assert ended.err.splitlines() == [
        "error: Two fields are wrong.",
        "  /hyperparameters/epocs: no such field",
        "hint: See /docs.",
    ]


def test_no_server_is_an_error_that_names_loupe_up(loupe: Run) -> None:
    ended = loupe("product", "list", "--server", f"http://127.0.0.1:{free_port()}")

    assert ended.status == 1
    assert "No Loupe answers" in ended.err
    assert "loupe up" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("address", ["http://", "ftp://somewhere", "127.0.0.1:port", "http://[::1"])
def test_an_address_that_is_none_is_an_error(loupe: Run, address: str) -> None:
    ended = loupe("product", "list", "--server", address)

    assert ended.status == 1
    assert "is no address of a server" in ended.err


def test_a_connection_that_breaks_is_told_as_such(loupe: Run, server: Server) -> None:
    server.answer = lambda _: (0, "", b"")

    ended = loupe("product", "list", "--server", server.url)

    assert ended.status == 1
    assert "was lost" in ended.err


@pytest.mark.parametrize("status", [502, 200])
def test_a_server_that_is_no_loupe_is_told_as_such(loupe: Run, server: Server, status: int) -> None:
    server.answer = lambda _: (status, "text/html", b"<h1>Bad gateway</h1>")

    ended = loupe("product", "list", "--server", server.url)

    assert ended.status == 1
    assert str(status) in ended.err
    assert "--server" in ended.err


def test_terminal_codes_in_an_error_do_not_reach_the_terminal(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_problem(404, "not_found", "There is no \x1b[2Jproduct.")

    assert "\x1b" not in loupe("product", "show", "x", "--server", server.url).err


def test_the_api_key_is_sent_as_a_bearer_token(
    monkeypatch: pytest.MonkeyPatch, loupe: Run, server: Server
) -> None:
    monkeypatch.setenv("LOUPE_API_KEY", "a secret")
    monkeypatch.setenv("LOUPE_SERVER", server.url)
    server.answer = lambda _: as_json({"data": [], "has_more": False, "next_cursor": None})

    assert loupe("product", "list").status == 0
    assert server.requests[0].headers["authorization"] == "Bearer a secret"


def test_a_waiting_command_outlives_a_server_that_is_started_again(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 0.01)
    answers = iter(
        [(0, "", b""), as_problem(503, "unavailable", "The database is away."), as_json({"id": 1})]
    )
    server.answer = lambda _: next(answers)

    assert Client(server.url).get_patiently("/jobs/1") == {"id": 1}


def test_a_waiting_command_gives_up_on_other_errors_at_once(server: Server) -> None:
    server.answer = lambda _: as_problem(404, "not_found", "There is no job.")

    with pytest.raises(ServerError):
        Client(server.url).get_patiently("/jobs/1")
    assert len(server.requests) == 1


def test_an_upload_is_streamed_with_its_length_and_name(server: Server) -> None:
    chunks = [b"a" * 100_000, b"b"]

    Client(server.url).upload(
        "/x", iter(chunks), size=100_001, media_type="application/x-tar", name="é 1.tar"
    )

    (request,) = server.requests
    assert request.body == b"".join(chunks)
    assert request.headers["content-length"] == "100001"
    assert request.headers["content-type"] == "application/x-tar"
    assert request.headers["x-filename"] == "%C3%A9 1.tar"


def test_a_list_is_fetched_in_as_many_pages_as_it_takes(server: Server) -> None:
    counter = itertools.count()

    def answer(_: Any) -> Any:
        page = next(counter)
        return as_json({"data": [page] * 100, "has_more": True, "next_cursor": f"c{page}"})

    server.answer = answer

    page = Client(server.url).list_rows("/jobs", 150)

    assert len(page["data"]) == 200
    assert [request.path for request in server.requests] == ["/jobs?limit=100", "/jobs?limit=50&after=c0"]


def test_an_id_stays_one_part_of_the_path() -> None:
    assert quoted("a/../b?c") == "a%2F..%2Fb%3Fc"
    for bad in ("", ".", ".."):
        with pytest.raises(CommandError):
            quoted(bad)


@pytest.mark.parametrize("status", [429, 503])
def test_an_error_says_how_long_the_server_asks_to_wait(server: Server, status: int) -> None:
    server.headers = {"Retry-After": "7"}
    server.answer = lambda _: as_problem(status, "busy", "Later.")

    with pytest.raises(ServerError) as raised:
        Client(server.url).get("/products")

    assert raised.value.retry_after_seconds == 7
    assert is_away(raised.value)
