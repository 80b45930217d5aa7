"""Logging of every process: text to read or JSON to search, each record with its request and its job."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

Format = Literal["text", "json"]

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_room: ContextVar[_Room | None] = ContextVar("room", default=None)
_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)

JOB_ID = re.compile(r"\bjob_[0-9a-z]{26}\b")
KEY = re.compile(r"lp(?:_|%5[Ff])([A-Za-z0-9]{8})(?:_|%5[Ff])[A-Za-z0-9]+")
"""A whole key: somebody may send one where its id belongs, or in a query."""
ACCESS_LOGGER = "uvicorn.access"
MOST_IN_MESSAGE = 4096
MOST_IN_TRACE = 12_288
MOST_OF_REQUEST = 16_384
"""Characters that one request may write, its own line apart: no image may fill the disk with complaints."""
# What moves the cursor, ends a line or turns its direction is written out, so that no client writes a line of
# its own into the log, or hides one. Halves of surrogate pairs could not be written at all.
_HARMFUL = [
    *range(0x20),
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F, 0xFEFF),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
]
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _HARMFUL}
_ESCAPES |= {ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _HARMFUL if code >= 0x7F}
"""JSON itself escapes the others, and what is harmful here stands only inside of its strings."""
TRACE_MARGIN = "  | "
"""Before each line of a trace: an error's text may have lines that look like a record."""
TRACES = ("exc_info", "exception", "stack_info", "stack")
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
    tokens: list[tuple[ContextVar[Any], Token[Any]]] = []
    if request_id is not None:
        tokens = [(_request_id, _request_id.set(request_id)), (_room, _room.set(_Room()))]
    if job_id is not None:
        tokens.append((_job_id, _job_id.set(job_id)))
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


Hide = Callable[[str], str]
"""Takes out of a text what nobody may read. It comes before any cut: a part of a key is not known as one."""


def hiding(first_key: str | None = None) -> Hide:
    """Hides every key but its prefix, and LOUPE_API_KEY wholly, also as URLs, JSON and Python write it."""
    written = set()
    if first_key:
        inside_json = json.dumps(first_key, ensure_ascii=False)[1:-1]
        written = {first_key, quote(first_key), quote(first_key, safe=""), inside_json, repr(first_key)[1:-1]}
    forms = sorted(written, key=len, reverse=True)

    def hide(text: str) -> str:
        for form in forms:
            text = text.replace(form, "…")
        return KEY.sub(r"lp_\1_…", text)

    return hide


class _Room:
    """What a request may still write."""

    def __init__(self) -> None:
        self.left = MOST_OF_REQUEST


class RoomFilter(logging.Filter):
    """Leaves out what a request writes beyond its room, and says once that something is missing."""

    def __init__(self, hide: Hide) -> None:
        super().__init__()
        self._hide = hide

    def filter(self, record: logging.LogRecord) -> bool:
        room = _room.get()
        if room is None or record.name == ACCESS_LOGGER:
            return True
        # What a request complains of before must not hide that it failed.
        if room.left <= (-MOST_OF_REQUEST if record.levelno >= logging.ERROR else 0):
            return False
        room.left -= len(record.getMessage()) + (MOST_IN_TRACE // 4 if record.exc_info else 0)
        if room.left <= 0:
            record.msg, record.args = (
                f"{cut(self._hide(record.getMessage()), MOST_IN_MESSAGE)} [more is left out]",
                (),
            )
        return True


def cut(text: str, most: int) -> str:
    """The beginning and the end of a text that is too long: the end of a trace says what happened."""
    if len(text) <= most:
        return text
    head = most // 4
    return f"{text[:head]} … {len(text) - most:,} characters … {text[-(most - head) :]}"


def one_line(text: str) -> str:
    """The text without anything that a terminal or a reader of lines would obey."""
    text = cut(text, MOST_IN_MESSAGE)
    return text if text.isprintable() else text.translate(_ESCAPES)


def configure_logging(level: str, log_format: Format, first_key: str | None = None) -> None:
    """Sends all records of this process to standard error, one line each where the format is JSON."""
    hide = hiding(first_key)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RoomFilter(hide))
    handler.setFormatter(JsonFormatter(hide) if log_format == "json" else TextFormatter(hide))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


class JsonFormatter(BaseJsonFormatter):
    """One object a line: time, level, logger, message; the ids where there are any; a trace as one text.

    What a library adds to a record of its own (``extra``) is a key of its own.
    """

    converter = staticmethod(time.gmtime)
    default_time_format, default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"

    def __init__(self, hide: Hide) -> None:
        self._hide = hide
        super().__init__(
            FIELDS,
            rename_fields=KEYS,
            # uvicorn's message again, with colours, and what Celery's message is made of.
            reserved_attrs=[*RESERVED_ATTRS, "color_message", "data"],
            json_default=lambda value: hide(str(value)),
            json_ensure_ascii=False,
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data |= {"level": record.levelname.lower(), **_ids(record), **_access(record)}
        for name, value in log_data.items():
            log_data[name] = hidden = self._hidden(value)
            if isinstance(hidden, str) and name not in TRACES:
                log_data[name] = cut(hidden, MOST_IN_MESSAGE)

    def _hidden(self, value: Any) -> Any:
        """Of the parts, not of the line: a key of digits may be a part of a number."""
        if isinstance(value, str):
            return self._hide(value)
        if isinstance(value, dict):
            return {name: self._hidden(one) for name, one in value.items()}
        return [self._hidden(one) for one in value] if isinstance(value, list | tuple) else value

    def formatException(self, ei: Any) -> str:
        return cut(self._hide(str(super().formatException(ei))), MOST_IN_TRACE)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if line.isprintable() else line.translate(_JSON_ESCAPES)


class TextFormatter(logging.Formatter):
    """A line to read, the ids at its end unless the message names them."""

    def __init__(self, hide: Hide) -> None:
        self._hide = hide
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record).rstrip()
        ids = [value for value in _ids(record).values() if value not in line]
        return one_line(self._hide(f"{line} [{' '.join(ids)}]" if ids else line))

    def formatException(self, ei: Any) -> str:
        return _with_margin(self._hide(super().formatException(ei)))

    def formatStack(self, stack_info: str) -> str:
        return _with_margin(self._hide(super().formatStack(stack_info)))


def _with_margin(trace: str) -> str:
    lines = cut(trace, MOST_IN_TRACE).split("\n")
    return "\n".join(TRACE_MARGIN + line.translate(_ESCAPES) for line in lines)


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


def _log_uncaught_in_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "unknown"
    error = ended.exc_value
    trace = None if error is None else (ended.exc_type, error, ended.exc_traceback)
    logging.getLogger("loupe").error("the thread %s has ended: %s", name, error, exc_info=trace)
