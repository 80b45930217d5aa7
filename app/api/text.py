"""Text that no database keeps: NUL characters, and halves of surrogate pairs. One answer for all of it."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from typing import Any

from app.errors import FieldError, InvalidRequestError, TooLargeError, UnsupportedMediaTypeError

_UNKEPT = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_GZIP = b"\x1f\x8b"
_SEPARATORS = (b"{", b"[", b",", b":")
_MOST_SEPARATORS = 20_000
"""Of a JSON body, those in its texts too. Each value costs a hundred times its length once it is read."""
_Utf8Decoder = codecs.getincrementaldecoder("utf-8")
_PART_BYTES = 2**20
_MOST_KEY = 200
"""Characters of a key that an error shows."""
_Place = tuple["_Place", str | int] | None
"""Where a value is in a document: the place of what holds it, and its key there."""


def check_text(values: Iterable[tuple[str, str]]) -> None:
    """Raises InvalidRequestError for the first of the named texts that cannot be kept."""
    for name, text in values:
        if found := _UNKEPT.search(name) or _UNKEPT.search(text):
            _refuse(_printable(name), found[0])


def check_json(body: bytes) -> None:
    """Raises InvalidRequestError for a body that is not UTF-8, or holds text that cannot be kept.

    A body that is not JSON passes: whoever parses it says so better.
    """
    if body.startswith(_GZIP):
        raise UnsupportedMediaTypeError(
            "The body is not JSON text: its first bytes are those of gzip.",
            hint="Send the JSON as it is, not compressed.",
        )
    _check_utf8(body)
    if b"\0" in body:
        raise _not_utf8("it holds NUL bytes, as UTF-16 does")
    parts = sum(map(body.count, _SEPARATORS))
    if parts > _MOST_SEPARATORS:
        raise TooLargeError(
            f"The body has {parts:,} of the characters {{ [ , and :; it may have {_MOST_SEPARATORS:,}.",
            hint="Send fewer values at once.",
        )
    # Rare, so that a large body is parsed a second time only where it may matter.
    if _ESCAPED.search(body):
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return
        _check_document(document)


def _check_utf8(body: bytes) -> None:
    """In parts: as one text, a body with a single wide character would take four times its length."""
    decoder = _Utf8Decoder()
    for start in range(0, len(body), _PART_BYTES):
        part = body[start : start + _PART_BYTES]
        held = len(decoder.getstate()[0])  # of a character that the part before began
        try:
            decoder.decode(part, final=start + _PART_BYTES >= len(body))
        except UnicodeDecodeError as error:
            place = start - held + error.start
            raise _not_utf8(f"byte {place} is 0x{body[place]:02x}") from error


def _check_document(document: Any) -> None:
    # A stack of our own: a document may be nested deeper than Python calls may be.
    open_parts: list[tuple[_Place, Any]] = [(None, document)]
    while open_parts:
        place, part = open_parts.pop()
        if isinstance(part, str):
            if _UNKEPT.search(part):
                check_text([(_pointer(place), part)])
        elif isinstance(part, list):
            open_parts.extend(((place, index), entry) for index, entry in enumerate(part))
        elif isinstance(part, dict):
            for key, value in part.items():
                if _UNKEPT.search(key):
                    check_text([(_pointer((place, key)), "")])
                open_parts.append(((place, key), value))


def _pointer(place: _Place) -> str:
    """A JSON pointer. Made for what is refused alone: one for each value would multiply long keys."""
    keys: list[str] = []
    while place is not None:
        place, key = place
        keys.append(str(key)[:_MOST_KEY])
    return "/" + "/".join(reversed(keys))


def _refuse(name: str, character: str) -> None:
    what = "a NUL character" if character == "\0" else "half of a surrogate pair"
    message = f"holds {what} (U+{ord(character):04X}), which is not text"
    raise InvalidRequestError(
        f"{name} {message}.", hint="Leave the character out.", errors=(FieldError(name, message),)
    )


def _printable(text: str) -> str:
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


def _not_utf8(why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The body is not UTF-8 text: {why}.",
        hint="JSON is sent as UTF-8.",
        errors=(FieldError("/", "not UTF-8"),),
    )
