"""Settings and what they refuse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.config import MAX_SOCKET_PATH, Settings
from app.launch.api import UnprotectedError, check_protected


def test_roots_come_as_a_path_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUPE_DATASET_ROOTS", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert Settings(_env_file=None).dataset_roots == (tmp_path / "a", tmp_path / "b")


def test_a_lease_shorter_than_two_heartbeats_is_refused() -> None:
    with pytest.raises(ValidationError, match="LOUPE_HEARTBEAT_SECONDS"):
        Settings(lease_seconds=5, heartbeat_seconds=10, _env_file=None)


def test_a_home_too_deep_for_a_socket_gets_one_elsewhere(tmp_path: Path) -> None:
    short = Settings(home=Path("/tmp/x"), _env_file=None).redis_socket
    long = Settings(home=tmp_path / ("deep" * 40), _env_file=None).redis_socket
    assert short == Path("/tmp/x/redis/redis.sock")
    assert len(os.fsencode(long)) <= MAX_SOCKET_PATH


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "loupe.example"])
def test_listening_beyond_loopback_wants_an_api_key(host: str) -> None:
    with pytest.raises(UnprotectedError):
        check_protected(Settings(host=host, _env_file=None))
    check_protected(Settings(host=host, api_key="x", _env_file=None))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    check_protected(Settings(host=host, _env_file=None))


def test_the_key_is_not_in_the_settings_text() -> None:
    assert "s3cret" not in repr(Settings(api_key="s3cret", _env_file=None))


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUPE_API_KEY", "")
    monkeypatch.setenv("LOUPE_PORT", "")
    settings = Settings(host="0.0.0.0", _env_file=None)
    assert (settings.api_key, settings.port) == (None, 8000)
    with pytest.raises(UnprotectedError):
        check_protected(settings)


def test_in_a_container_the_published_address_decides_about_the_api_key() -> None:
    check_protected(Settings(host="0.0.0.0", published_host="127.0.0.1", _env_file=None))
    with pytest.raises(UnprotectedError, match=r"^192\.168\.1\.5 "):
        check_protected(Settings(host="0.0.0.0", published_host="192.168.1.5", _env_file=None))
