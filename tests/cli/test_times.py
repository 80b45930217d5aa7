from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from app.cli.console import format_setting, format_time
from tests.cli.answers import TIME, answer_everything
from tests.cli.conftest import Run, Server

SHOWN = (
    "product show screws",
    "dataset show dst_1",
    "dataset items dst_1",
    "job show job_1",
    "job events job_1",
    "model show mdl_1",
    "alias list screws",
    "alias history screws champion",
    "products",
    "jobs",
    "models",
    "workers",
)


@pytest.fixture(params=["Asia/Kolkata", "America/Sao_Paulo", "Europe/Berlin", "UTC", "Nonsense/Zone"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_a_time_is_that_of_the_readers_zone_and_names_it(zone: str) -> None:
    there = {
        "Asia/Kolkata": "2026-01-02 08:34:05 IST",
        "America/Sao_Paulo": "2026-01-02 00:04:05 UTC-0300",
        "Europe/Berlin": "2026-01-02 04:04:05 CET",
        "UTC": "2026-01-02 03:04:05 UTC",
        "Nonsense/Zone": "2026-01-02 03:04:05 UTC",
    }[zone]

    assert format_time(TIME) == format_setting(TIME) == there
    assert format_time("2026-01-02T05:04:05+02:00") == there


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("command", SHOWN)
def test_every_time_that_a_command_shows_is_in_that_zone(loupe: Run, server: Server, command: str) -> None:
    server.answer = answer_everything

    ended = loupe(*command.split(), "--server", server.url)

    assert ended.status == 0, ended.err
    assert "2026-01-02T" not in ended.out
    assert ended.out.count("2026-01-02") == ended.out.count(format_time(TIME))
    if command.partition(" ")[2] and "list" not in command and "items" not in command:
        assert format_time(TIME) in ended.out


@pytest.mark.usefixtures("zone")
def test_json_keeps_utc_as_it_came(loupe: Run, server: Server) -> None:
    server.answer = answer_everything

    assert loupe("job", "show", "job_1", "--json", "--server", server.url).json["created_at"] == TIME
