"""Files as answers: the whole, or the ranges of bytes that a client asks for."""

from __future__ import annotations

import os
import re

from fastapi import Response, status
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from app.errors import MalformedRangeError, UnsatisfiableRangeError

_RANGE = re.compile(r"[ \t]*([0-9]*)-([0-9]*)[ \t]*")
_MOST_DIGITS = 18
_KEPT = ("ETag", "Cache-Control")
"""Headers of an answer that go with a 304 in its place."""
FOR_EVER = "private, max-age=31536000, immutable"
"""``Cache-Control`` of what never changes, for the one who may see it."""
Range = tuple[int, int]


class FileAnswer(FileResponse):
    """Starlette's, whose errors of ranges are problem documents like all others."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[Range]:
        """The ranges, end exclusive, sorted and apart; none for the whole file: another unit than bytes must
        be ignored (RFC 9110, 14.2), and many ranges may be.
        """
        unit, _, text = http_range.partition("=")
        asked = [part for part in text.split(",") if part.strip()]
        if unit.strip().lower() != "bytes" or len(asked) > cls.max_ranges:
            return []
        if not asked:
            raise _malformed(http_range)
        wanted = [_parse_range(part, file_size, http_range) for part in asked]
        found = [(start, min(end, file_size)) for start, end in wanted if start < min(end, file_size)]
        if not found:
            raise UnsatisfiableRangeError(file_size)
        return _joined(found)


class ContentAnswer(FileAnswer):
    """Of a file whose content alone counts, and not when it came to be here.

    The time of an image that products share would tell one when another imported the same; that of a model
    differs between hosts. The ``ETag`` is of the content, and stands for the time also where a client asks
    for the rest.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        etag = self.headers["ETag"]
        if is_known(Headers(scope=scope), etag):
            kept = {name: self.headers[name] for name in _KEPT if name in self.headers}
            await Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=kept)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def set_stat_headers(self, stat_result: os.stat_result) -> None:
        self.headers["Content-Length"] = str(stat_result.st_size)

    def _should_use_range(self, http_if_range: str) -> bool:
        return http_if_range == self.headers["ETag"]


def is_known(headers: Headers, etag: str) -> bool:
    """Whether the client has the answer of this ``ETag`` already, and asks only for another."""
    given = ", ".join(headers.getlist("if-none-match"))
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in given.split(","))


def _parse_range(text: str, size: int, header: str) -> Range:
    match = _RANGE.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise _malformed(header)
    if not match[1]:
        return max(0, size - _number(match[2])), size
    start, end = _number(match[1]), _number(match[2]) if match[2] else size
    if match[2] and end < start:
        raise _malformed(header)
    return start, end + bool(match[2])


def _number(digits: str) -> int:
    """Past any file's end where there are more digits than a number needs."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _joined(ranges: list[Range]) -> list[Range]:
    """Without overlaps, which would send bytes again and again."""
    joined: list[Range] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _malformed(header: str) -> MalformedRangeError:
    return MalformedRangeError(
        f"The header Range is {header[:100]!r}.",
        hint="Ask for bytes=0-499, for bytes=500- to the end, or for the last ones: bytes=-500.",
    )
