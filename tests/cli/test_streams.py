from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from tests.cli.answers import NAME, answer_everything
from tests.cli.conftest import Server

# One of every kind of output: boxes, tables, fields, bars, CSV, JSON, logs, errors.
COMMANDS = (
    "--help",
    "predict --help",
    "products",
    "products --json",
    "product show screws",
    "dataset show dst_1",
    "dataset items dst_1",
    "dataset items dst_1 --similar-to img_1",
    "jobs",
    "job show job_1",
    "job events job_1",
    "job events job_1 --json",
    "job metrics job_1 --csv",
    "job logs job_1",
    "job follow job_1",
    "models",
    "model show mdl_1",
    "alias list screws",
    "alias history screws champion",
    "networks",
    "workers",
    "datasets Schräg",
    "no-such-command-ä",
)


@pytest.fixture
def in_encoding(monkeypatch: pytest.MonkeyPatch, server: Server) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process with streams of an encoding; gives status and what was written."""
    server.answer = answer_everything
    monkeypatch.setenv("LOUPE_SERVER", server.url)

    def run(command: str, encoding: str) -> tuple[int, str, str]:
        written = io.BytesIO(), io.BytesIO()
        for name, buffer in zip(("stdout", "stderr"), written, strict=True):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(buffer, encoding, write_through=True))
        monkeypatch.setattr(sys, "argv", ["loupe", *command.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = (buffer.getvalue().decode(encoding) for buffer in written)
        return int(ended.value.code or 0), out, err

    return run


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_every_command_says_what_it_has_to_say_in_every_encoding(
    in_encoding: Callable[..., tuple[int, str, str]], command: str, encoding: str
) -> None:
    status, out, err = in_encoding(command, encoding)

    is_wrong = command in ("no-such-command-ä",)
    assert status == (2 if is_wrong else 0), err
    assert out + err
    assert "\\u25" not in out + err, "boxes and bars have plain letters"
    if "--json" in command:
        assert NAME in json.dumps(json.loads(out), ensure_ascii=False)


def _run(command: str, server: Server, **options: Any) -> subprocess.CompletedProcess[bytes]:
    server.answer = answer_everything
    environment = {**os.environ, "LOUPE_SERVER": server.url, **options.pop("env", {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    arguments = [sys.executable, "-m", "app.cli", *command.split()]
    return subprocess.run(arguments, env=environment, check=False, timeout=60, **streams)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", ""])
def test_the_process_itself_writes_every_text_in_old_locales(server: Server, encoding: str) -> None:
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    ended = _run("products", server, env=locale)

    assert ended.returncode == 0
    assert b"\\u65e5\\u672c" in ended.stdout
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["--help", "models", "products --json", "job logs job_1"])
def test_a_reader_that_leaves_gets_no_traceback(server: Server, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = _run(command, server, stdout=writing)
    finally:
        os.close(writing)

    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' /dev/full")
def test_a_full_disk_under_the_output_is_an_error(server: Server) -> None:
    with Path("/dev/full").open("wb") as full:
        # Unbuffered, as some environments have it, Python itself would not fail once more at its end.
        ended = _run("products --json", server, stdout=full, env={"PYTHONUNBUFFERED": ""})

    assert ended.returncode == 1
    assert ended.stderr.startswith(b"error: ")
    assert b"No space left" in ended.stderr
    assert b"Exception ignored" not in ended.stderr


def test_without_any_standard_output_the_status_is_the_answer(server: Server) -> None:
    server.answer = answer_everything
    command = f"{sys.executable} -m app.cli products --server {server.url} >&-"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")
