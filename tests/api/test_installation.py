"""``GET /doctor``: what the command finds, for who has no shell on the server"""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.config import Settings
from app.services import installation
from tests.api.keys import make_headers
from tests.api.opened import opened
from tests.api.test_problems import assert_problem


@pytest.fixture(autouse=True)
def _nothing_found_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_last", None)


def test_the_checks_come_in_their_order_with_what_to_do(client: TestClient) -> None:
    answer = client.get("/doctor")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [finding["check"] for finding in found["findings"]][:4] == [
        "versions",
        "home",
        "database",
        "migrations",
    ]
    by_check = {finding["check"]: finding for finding in found["findings"]}
    assert by_check["database"]["status"] == "ok"
    # Nobody started a worker.
    assert by_check["workers"]["status"] != "ok"
    assert by_check["workers"]["hint"]
    assert found["ok"] == all(finding["status"] != "failed" for finding in found["findings"])


def test_who_asks_again_at_once_gets_what_was_found(client: TestClient) -> None:
    assert client.get("/doctor").json() == client.get("/doctor").json()


def test_only_who_runs_the_server_sees_it(tmp_path: Path) -> None:
    with opened(Settings(home=tmp_path, api_key="s3cret", _env_file=None)) as client:
        client.headers["authorization"] = "Bearer s3cret"
        for scope in ("read", "write"):
            assert_problem(client.get("/doctor", headers=make_headers(client, scope)), 403)
        found = client.get("/doctor")
    assert found.status_code == 200
    assert "s3cret" not in found.text


def test_checks_that_come_to_no_end_are_an_error_in_words(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "SECONDS", 0.05)
    problem = assert_problem(client.get("/doctor"), 503)
    assert "loupe doctor" in problem["hint"]
