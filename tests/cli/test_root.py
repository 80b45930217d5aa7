from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from app.cli.root import app
from tests.cli.conftest import Run

HEAVY = ("alembic", "celery", "fastapi", "httpx2", "numpy", "pydantic", "sklearn", "sqlalchemy", "tensorflow")


def _commands(tree: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for command in tree.registered_commands:
        yield (*path, str(command.name))
    for group in tree.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, (*path, str(group.name)))


@pytest.mark.parametrize("command", list(_commands(app)), ids=" ".join)
def test_every_command_explains_itself_and_each_of_its_options(loupe: Run, command: tuple[str, ...]) -> None:
    ended = loupe(*command, "--help")

    assert ended.status == 0
    explained = " ".join(ended.out.split())
    assert f"Usage: loupe {' '.join(command)}" in explained
    options = [line.split("--", 1)[1] for line in ended.out.splitlines() if line.startswith("│ --")]
    assert all(len(option.split()) > 3 for option in options), options


def test_the_first_help_shows_the_way(loupe: Run) -> None:
    ended = loupe("--help")

    for line in ("loupe demo", "loupe up", "loupe dataset import screws ~/images/screws"):
        assert line in ended.out


def test_help_does_not_wait_for_what_only_the_service_needs() -> None:
    code = f"import sys, app.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_folder_that_cannot_be_made_is_an_error_without_a_traceback(loupe: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    ended = loupe("migrate", "--home", tmp_path / "file" / "home")

    assert ended.status == 1
    assert ended.err.startswith(f"error: {tmp_path / 'file' / 'home'}: ")


def test_settings_that_are_wrong_are_named_as_they_are_written(
    monkeypatch: pytest.MonkeyPatch, loupe: Run
) -> None:
    monkeypatch.setenv("LOUPE_PORT", "a port")

    ended = loupe("migrate")

    assert ended.status == 1
    assert "LOUPE_PORT: " in ended.err


def test_listening_to_a_network_without_a_key_is_refused(loupe: Run, tmp_path: Path) -> None:
    ended = loupe("up", "--host", "0.0.0.0", "--home", tmp_path)

    assert ended.status == 1
    assert "hint: Set LOUPE_API_KEY" in ended.err


def test_migrate_makes_a_database_that_is_up_to_date(loupe: Run, tmp_path: Path) -> None:
    assert loupe("migrate", "--home", tmp_path / "home").status == 0
    assert (tmp_path / "home" / "loupe.db").is_file()
