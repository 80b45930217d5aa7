from __future__ import annotations

import json
from typing import Any

from tests.cli.conftest import Run, Server, as_json

RECORD: dict[str, Any] = {
    "id": "aud_01", "at": "2026-01-02T03:04:05.678Z", "key": "key_01", "caller": "Ann", "by_session": True,
    "action": "DELETE /jobs/{job}", "product": "screws", "things": ["job_01"], "outcome": "done",
    "status": 204, "address": "192.0.2.7", "request_id": "req_01", "times": 1,
}  # fmt: skip


def test_the_audit_is_a_table_of_who_did_what(loupe: Run, server: Server) -> None:
    rows = [RECORD, {**RECORD, "caller": None, "by_session": False, "outcome": "refused", "times": 195}]
    server.answer = lambda _: as_json({"data": rows, "has_more": False, "next_cursor": None})

    lines = loupe("audit", "--product", "screws", "--key", "Ann", "--server", server.url).out.splitlines()

    assert "Ann (browser)" in lines[1]
    assert "DELETE /jobs/{job}" in lines[1]
    assert "nobody known" in lines[2]
    assert lines[2].endswith("195")
    (request,) = server.requests
    assert request.path == "/audit?limit=50&key=Ann&product=screws"


def test_json_lines_come_as_the_server_sends_them(loupe: Run, server: Server) -> None:
    body = "".join(json.dumps({**RECORD, "id": name}) + "\n" for name in ("aud_01", "aud_02")).encode()
    server.answer = lambda _: (200, "application/x-ndjson", body)

    ended = loupe("audit", "--json", "--since", "2026-01-01T00:00:00Z", "--server", server.url)

    assert ended.out == body.decode()
    (request,) = server.requests
    assert request.headers["accept"] == "application/x-ndjson"
    assert request.path == "/audit?since=2026-01-01T00%3A00%3A00Z"
