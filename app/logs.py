"""Logging of every process: text to read or JSON to search, each record with its request and its job."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

Format = Literal["text", "json"]

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)

JOB_ID = re.compile(r"\bjob_[0-9a-z]{26}\b")
ACCESS_LOGGER = "uvicorn.access"
FIELDS = ("asctime", "levelname", "name", "message", "process")
KEYS = {
    "asctime": "time",
    "levelname": "level",
    "name": "logger",
    "exc_info": "exception",
    "stack_info": "stack",
}


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


class JsonFormatter(BaseJsonFormatter):
    """One object a line: time, level, logger, message; the ids where there are any; a trace as one text.

    What a library adds to a record of its own (``extra``) is a key of its own.
    """

    converter = staticmethod(time.gmtime)
    default_time_format, default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__(
            FIELDS,
            rename_fields=KEYS,
            # uvicorn's message again, with colours, and what Celery's message is made of.
            reserved_attrs=[*RESERVED_ATTRS, "color_message", "data"],
            json_default=str,
            json_ensure_ascii=False,
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data |= {"level": record.levelname.lower(), **_ids(record), **_access(record)}


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


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("loupe").critical("the process ends: %s", error, exc_info=(kind, error, trace))
