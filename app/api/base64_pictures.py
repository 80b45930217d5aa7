"""Base64 as clients write it: in both alphabets, as a data URL, with line breaks, without padding."""

from __future__ import annotations

import base64
import re
from string import ascii_letters, digits
from urllib.parse import unquote_to_bytes

_DATA_URL = re.compile(rb"\s*data:", re.IGNORECASE)
_BASE64_HEAD = re.compile(rb"\s*data:[^,]*;\s*base64\s*,", re.IGNORECASE)
_MAX_HEAD = 1000
_MOST_ESCAPES = 10_000
"""Each takes a hundred times its length while it is read."""
_WHITE_SPACE = b" \t\n\r\v\f"
_DIGITS = (ascii_letters + digits).encode() + b"+/-_"
_FOREIGN = re.compile(rb"[^A-Za-z0-9+/_\-\s]")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


class NotBase64Error(ValueError):
    """Its text says which part is wrong."""


def decode_base64(text: str) -> bytes:
    """The bytes that ``text`` stands for. Raises NotBase64Error.

    Of tens of megabytes each step here is one fast pass that copies nothing it need not: no other thread runs
    meanwhile.
    """
    data, start = _as_ascii(text), 0
    if _DATA_URL.match(data):
        head = _BASE64_HEAD.match(data[:_MAX_HEAD])
        if head is None:
            raise NotBase64Error("the data URL does not begin as data:image/png;base64,")
        start = head.end()
        if escapes := data.count(b"%", start):
            if escapes > _MOST_ESCAPES:
                raise NotBase64Error(
                    "the data URL has thousands of percent escapes: write base64 without them"
                )
            data = data[:start] + unquote_to_bytes(data[start:])
    padded = data[start:].rstrip(_WHITE_SPACE)
    written_digits = padded.rstrip(b"= \t\r\n")
    padding = padded.count(b"=", len(written_digits))
    written = padded if padding else data[start:]  # what follows padding is no digit
    if written_digits.translate(None, _DIGITS + _WHITE_SPACE):
        found = _FOREIGN.search(written_digits)
        assert found is not None
        raise NotBase64Error(f"it has {_name(chr(found[0][0]))} at character {start + found.start() + 1}")
    blanks = written.count(b" ")
    lost_plus = blanks > 0 and not any(sign in written_digits for sign in (b"+", b"_", b"-"))
    clean = written_digits.translate(_TO_STANDARD, _WHITE_SPACE)
    if not clean:
        raise NotBase64Error("there is nothing after the data URL's head" if start else "it is empty")
    if padding > 2:
        raise NotBase64Error(f"it ends with {padding} '=', and padding has at most 2")
    if lost_plus and not _must_be_white_space(blanks, len(clean), padding):
        place = start + written.index(b" ") + 1
        raise NotBase64Error(
            f"it has a blank at character {place} and nowhere a '+', as when a form decoder reads each '+' "
            "as a blank: write '+' as %2B there, or use the URL-safe alphabet"
        )
    if len(clean) % 4 == 1:
        raise NotBase64Error(
            f"its {len(clean):,} characters are no whole number of bytes, as if some of them were lost"
        )
    return base64.b64decode(clean + b"=" * (-len(clean) % 4) if len(clean) % 4 else clean)


def _as_ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        raise NotBase64Error(f"it has {_name(text[error.start])} at character {error.start + 1}") from None


def _must_be_white_space(blanks: int, digits: int, padding: int) -> bool:
    """Whether the length leaves no room for a reading in which some of the blanks are ``+``."""
    return (digits + padding) % 4 == 0 and blanks < (4 if padding else 2)


def _name(character: str) -> str:
    if character == "=":
        return "padding ('=') before its end,"
    return repr(character) if character.isprintable() else f"U+{ord(character):04X}"
