"""Text that no database keeps: NUL characters, and halves of surrogate pairs. One answer for all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from app.errors import FieldError, InvalidRequestError, UnsupportedMediaTypeError

_UNKEPT = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_GZIP = b"\x1f\x8b"


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
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(f"byte {error.start} is 0x{body[error.start]:02x}") from error
    if "\0" in text:
        raise _not_utf8("it holds NUL bytes, as UTF-16 does")
    # Rare, so that a large body is parsed a second time only where it may matter.
    if _ESCAPED.search(text):
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return
        _check_document(document)


def _check_document(document: Any) -> None:
    # A stack of our own: a document may be nested deeper than Python calls may be.
    open_parts: list[tuple[str, Any]] = [("", document)]
    while open_parts:
        pointer, part = open_parts.pop()
        if isinstance(part, str):
            check_text([(pointer or "/", part)])
        elif isinstance(part, list):
            open_parts.extend((f"{pointer}/{index}", entry) for index, entry in enumerate(part))
        elif isinstance(part, dict):
            for key, value in part.items():
                check_text([(f"{pointer}/{key}", "")])
                open_parts.append((f"{pointer}/{key}", value))


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
