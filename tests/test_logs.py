"""Logs: what a record becomes, and that a real service writes nothing else."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from app.logs import TRACE_MARGIN, JsonFormatter, RoomFilter, TextFormatter, hiding, log_context
from app.models.base import new_id
from tests.conftest import Service
from tests.pictures import make_files, make_zip
from tests.waiting import wait_for

JOB = new_id("job")
FIRST = "first/key+of=1"
HIDE = hiding(FIRST)
OF_LITERT = "INFO: Created TensorFlow Lite"
"""What LiteRT itself writes when a process loads its first model, which another test may have asked for."""


def record(message: str, *arguments: object, name: str = "app.x") -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, "x.py", 1, message, arguments, None)


def as_json(of: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter(HIDE).format(of)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_record_carries_the_ids_of_its_context_in_both_formats() -> None:
    with log_context(request_id="req_1"), log_context(job_id=JOB):
        found = as_json(record("done: %s", "well"))
        line = TextFormatter(HIDE).format(record("done"))
        named = TextFormatter(HIDE).format(record("job %s done", JOB))
    assert (found["message"], found["request_id"], found["job_id"]) == ("done: well", "req_1", JOB)
    assert line.endswith(f"app.x: done [req_1 {JOB}]")
    assert named.endswith(f"job {JOB} done [req_1]")
    outside = as_json(record("done"))
    assert "request_id" not in outside
    assert "job_id" not in outside


def test_threads_do_not_see_each_others_ids() -> None:
    seen = []
    with log_context(job_id=JOB):
        other = threading.Thread(target=lambda: seen.append(as_json(record("x")).get("job_id")))
        other.start()
        other.join()
    assert seen == [None]


def test_a_job_that_a_record_speaks_of_is_found_when_it_is_the_only_one() -> None:
    assert as_json(record("Task %(id)s received", {"id": "1", "args": f"['{JOB}']"}))["job_id"] == JOB
    assert "job_id" not in as_json(record("given back: %s", f"{JOB}, {new_id('job')}"))


def test_a_request_and_a_trace_are_one_line() -> None:
    access = record("%s %s %s", "1.2.3.4:5", "GET", "/jobs?x=\n", "1.1", 200, name="uvicorn.access")
    access.msg = '%s - "%s %s HTTP/%s" %d'
    found = as_json(access)
    assert (found["method"], found["path"], found["status"]) == ("GET", "/jobs?x=\n", 200)
    try:
        raise ValueError("a\nb")
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    assert "ValueError: a\nb" in as_json(failed)["exception"]


def test_a_record_has_the_time_in_utc_and_what_a_library_adds_but_not_its_message_again() -> None:
    spoken = record("started")
    spoken.created, spoken.msecs = 1_700_000_000.25, 250.0
    spoken.__dict__ |= {"color_message": "\x1b[1mstarted", "data": {"args": ()}, "attempt": 2}
    assert as_json(spoken) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "logger": "app.x",
        "message": "started",
        "process": spoken.process,
        "attempt": 2,
    }


HARMFUL = "".join(
    map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066, 0xFEFF, 0xD800])
)


@pytest.mark.parametrize("character", HARMFUL, ids=lambda character: f"{ord(character):x}")
def test_no_part_of_a_record_has_a_character_that_a_terminal_would_obey(character: str) -> None:
    evil = f"a{character}b"
    try:
        raise ValueError(evil)
    except ValueError:
        failed = record("failed: %s", evil, name=f"app.{evil}")
        failed.exc_info = sys.exc_info()
    failed.levelname = evil
    failed.stack_info = evil
    failed.__dict__["extra"] = evil
    for formatter in (TextFormatter(HIDE), JsonFormatter(HIDE)):
        with log_context(request_id=evil):
            text = formatter.format(failed)
        failed.exc_text = None
        assert not set(text) & (set(HARMFUL) - {"\n"})
        text.encode("utf-8")
        first, *others = text.split("\n")
        assert isinstance(formatter, TextFormatter) or not others
        assert all(line.startswith(TRACE_MARGIN) for line in others)
        assert "failed: a" in first


@pytest.mark.parametrize("formatter", [TextFormatter(HIDE), JsonFormatter(HIDE)])
@pytest.mark.parametrize(
    "key",
    [FIRST, "first/key%2Bof%3D1", "first%2Fkey%2Bof%3D1", "lp_abcdefgh_5ecret1", "lp%5Fabcdefgh%5f5ecret1"],
)
def test_no_part_of_a_record_shows_a_key(formatter: logging.Formatter, key: str) -> None:
    try:
        raise ValueError(key)
    except ValueError:
        failed = record("%s %s %s", "GET", f"/products?x={key}", {"key": key}, name="uvicorn.access")
        failed.exc_info = sys.exc_info()
    failed.stack_info = key
    failed.__dict__ |= {"audit": {"things": [key], "path": (key,)}, "other": ValueError(key)}
    with log_context(request_id=key):
        text = formatter.format(failed)
    assert not any(part in text for part in ("first", "5ecret1"))
    assert ("lp_abcdefgh_…" in text) == key.startswith("lp")


def test_what_cuts_a_message_cuts_no_key_in_two() -> None:
    with log_context(request_id="req_1"):
        kept = record("%s", f"{'x' * 1014}{FIRST}{'x' * 20_000}")
        RoomFilter(HIDE).filter(kept)
        for formatter in (TextFormatter(HIDE), JsonFormatter(HIDE)):
            assert "first" not in formatter.format(kept)


def test_names_of_other_languages_stay_as_they_are() -> None:
    assert "Prüfstück 部品 🔩" in TextFormatter(HIDE).format(record("Prüfstück 部品 🔩"))
    assert "Prüfstück 部品 🔩" in JsonFormatter(HIDE).format(record("Prüfstück 部品 🔩"))


@pytest.mark.parametrize("formatter", [TextFormatter(HIDE), JsonFormatter(HIDE)])
def test_no_record_is_long(formatter: logging.Formatter) -> None:
    try:
        raise ValueError("x" * 10**6)
    except ValueError:
        failed = record("%s", "y" * 10**6)
        failed.exc_info = sys.exc_info()
    assert len(formatter.format(failed)) < 20_000


def test_a_request_cannot_fill_the_log_and_its_failure_is_still_seen() -> None:
    room = RoomFilter(HIDE)
    with log_context(request_id="req_1"):
        kept = [found for index in range(10_000) if room.filter(found := record("complaint %d", index))]
        failure = record("failed")
        failure.levelno = logging.ERROR
        assert room.filter(failure)
        assert room.filter(record("%s %s %s", name="uvicorn.access"))
    assert sum(len(found.getMessage()) for found in kept) < 20_000
    assert kept[-1].getMessage().endswith("[more is left out]")
    assert room.filter(record("outside of a request"))


def test_what_ends_a_process_is_a_record_too() -> None:
    code = "from app.logs import configure_logging as c; c('INFO', 'json'); {}['gone']"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    [line] = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert "KeyError: 'gone'" in json.loads(line)["exception"]


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("where", ["process", "thread"])
def test_what_nobody_caught_has_no_harmful_character_either(log_format: str, where: str) -> None:
    code = f"""
import threading
from app.logs import configure_logging
configure_logging("INFO", "{log_format}")
def fail():
    raise ValueError("a\\x1b[31m\\nb")
threading.Thread(target=fail).start() if "{where}" == "thread" else fail()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ValueError" in ended.stderr
    assert "\x1b" not in ended.stderr
    first, *others = ended.stderr.splitlines()
    assert "a\\" in first
    assert all(line.startswith(TRACE_MARGIN) for line in others)


@pytest.mark.integration
def test_every_line_of_a_real_service_is_json_and_names_request_and_job(service: Service) -> None:
    with service.client() as client:
        client.post("/products", json={"id": "logged"}).raise_for_status()
        upload = {"file": ("p.zip", make_zip(make_files()))}
        sent = client.post("/products/logged/datasets", files=upload, headers={"X-Request-Id": "mine-1"})
        assert sent.headers["x-request-id"] == "mine-1"
        job = sent.raise_for_status().json()["job"]
        assert client.get(f"/jobs/{job}?wait=60").json()["status"] == "succeeded"
        broken = {"file": ("p.zip", b"PK and no more")}
        failed = client.post("/products/logged/datasets", files=broken).raise_for_status().json()["job"]
        assert client.get(f"/jobs/{failed}?wait=60").json()["status"] == "failed"
        odd = client.get("/healthz", headers={"X-Request-Id": "a b\t" + "x" * 500})
        assert odd.headers["x-request-id"].startswith("req_")

    def lines(name: str) -> list[dict[str, Any]]:
        text = (service.home / "logs" / f"{name}.log").read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [json.loads(line) for line in whole if not line.startswith(OF_LITERT)]

    def find(name: str, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return wait_for(lambda: next(filter(matches, lines(name)), None), 30, f"the line of {name}.log")

    access = find("api", lambda line: line.get("request_id") == "mine-1" and "status" in line)
    assert (access["method"], access["path"]) == ("POST", "/products/logged/datasets")
    assert access["status"] == 202
    find("api", lambda line: line.get("path") == f"/jobs/{job}?wait=60" and "request_id" in line)
    for said in ("received", "attempt 1 runs as process", "attempt 1 ended: succeeded", "succeeded in"):
        find("worker-tasks", lambda line, said=said: said in line["message"] and line["job_id"] == job)  # type: ignore[misc]
    assert lines("worker-training")

    child = service.home / "jobs" / failed / "process-0001.log"
    for text in child.read_text(encoding="utf-8").splitlines():
        assert json.loads(text)["job_id"] == failed
    assert "ArchiveError" in json.loads(text)["exception"]
