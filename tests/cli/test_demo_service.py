from __future__ import annotations

import fcntl
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cli.client import CommandError
from app.cli.demo_service import running_service
from tests.cli.conftest import Server, as_json
from tests.ports import free_port


@contextmanager
def _in_use(home: Path, address: str | None) -> Iterator[None]:
    """A home whose Loupe runs, as its lock tells."""
    if address is not None:
        (home / "demo.json").write_text(json.dumps({"url": address}))
    with (home / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_loupe_that_runs_in_the_home_already_is_used_and_left_running(
    tmp_path: Path, server: Server
) -> None:
    server.answer = lambda _: as_json({"ready": True})

    with _in_use(tmp_path, server.url), running_service(tmp_path, 8000) as service:
        assert (service.url, service.process) == (server.url, None)


@pytest.mark.parametrize("address", [None, "http://127.0.0.1:{port}"])
def test_a_home_in_use_at_an_unknown_address_is_an_error(tmp_path: Path, address: str | None) -> None:
    known = address and address.format(port=free_port())

    with (
        _in_use(tmp_path, known),
        pytest.raises(CommandError, match="does not know where it answers"),
        running_service(tmp_path, 8000),
    ):
        pass


def test_an_address_left_over_from_a_demo_that_ended_is_not_believed(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo.json").write_text(json.dumps({"url": server.url}))
    (tmp_path / "up.lock").touch()
    # What is started cannot start: all that counts here is that the old address was not taken.
    monkeypatch.setenv("LOUPE_LOG_LEVEL", "no such level")

    with pytest.raises(CommandError, match="ended with status 1"), running_service(tmp_path, free_port()):
        pass
    assert server.requests == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_port_that_is_taken_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOUPE_LOG_LEVEL", "no such level")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError), running_service(tmp_path, port):
            pass

    assert f"Port {port} is taken" in capsys.readouterr().err
    assert str(port) not in (tmp_path / "demo.json").read_text()
