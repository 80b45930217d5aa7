"""Logging of every process: text to read or JSON to search, each record with its request and its job."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal

Format = Literal["text", "json"]

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)

JOB_ID = re.compile(r"\bjob_[0-9a-z]{26}\b")
ACCESS_LOGGER = "uvicorn.access"


@contextmanager
def log_context(*, request_id: str | None = None, job_id: str | None = None) -> Iterator[None]:
    """Every record of the block, in this thread or task and what they start, carries the ids."""
    tokens = [
        (variable, variable.set(value))
        for variable, value in ((_request_id, request_id), (_job_id, job_id))
        if value is not None
    ]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


def configure_logging(level: str, log_format: Format) -> None:
    """Sends all records of this process to standard error, one line each where the format is JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    if log_format == "json":
        sys.excepthook = _log_uncaught


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message; the ids where there are any; a trace as one text."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_ids(record),
            **_access(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = record.stack_info
        return json.dumps(entry, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line to read, the ids at its end unless the message names them."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        ids = [value for value in _ids(record).values() if value not in line]
        return f"{line} [{' '.join(ids)}]" if ids else line


def _ids(record: logging.LogRecord) -> dict[str, str]:
    """The ids of the context; a job that is only spoken of, as by Celery and the reaper, counts too."""
    job_id = _job_id.get()
    if job_id is None and record.args:
        named = set(JOB_ID.findall(str(record.args)))
        job_id = named.pop() if len(named) == 1 else None
    ids = {"request_id": _request_id.get(), "job_id": job_id}
    return {name: value for name, value in ids.items() if value is not None}


def _access(record: logging.LogRecord) -> dict[str, Any]:
    """The parts of a request's line, to filter by."""
    if record.name != ACCESS_LOGGER or not isinstance(record.args, tuple) or len(record.args) != 5:
        return {}
    client, method, path, _, status = record.args
    return {"client": client, "method": method, "path": path, "status": status}


def _rfc3339(seconds: float) -> str:
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("loupe").critical("the process ends: %s", error, exc_info=(kind, error, trace))
