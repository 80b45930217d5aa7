"""Base64 as clients write it: in both alphabets, as a data URL, with line breaks, without padding."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

_DATA_URL = re.compile(r"\s*data:", re.IGNORECASE)
_BASE64_HEAD = re.compile(r"\s*data:[^,]*;\s*base64\s*,", re.IGNORECASE)
_MAX_HEAD = 1000
_MOST_ESCAPES = 10_000
"""Each takes a hundred times its length while it is read."""
_WHITE_SPACE = re.compile(r"\s+")
_FOREIGN = re.compile(r"[^A-Za-z0-9+/_\-\s]")
_SIXTY_THIRD = re.compile(r"[+_-]")
_TO_STANDARD = str.maketrans("-_", "+/")


class NotBase64Error(ValueError):
    """Its text says which part is wrong."""


def decode_base64(text: str) -> bytes:
    """The bytes that ``text`` stands for. Raises NotBase64Error."""
    start = 0
    if _DATA_URL.match(text):
        head = _BASE64_HEAD.match(text[:_MAX_HEAD])
        if head is None:
            raise NotBase64Error("the data URL does not begin as data:image/png;base64,")
        start = head.end()
        if text.count("%") > _MOST_ESCAPES:
            raise NotBase64Error("the data URL has thousands of percent escapes: write base64 without them")
        text = text[:start] + unquote(text[start:])
    padded = text[start:].rstrip()
    digits = padded.rstrip("= \t\r\n")
    padding = padded[len(digits) :].count("=")
    written = padded if padding else text[start:]  # what follows padding is no digit
    if found := _FOREIGN.search(digits):
        raise NotBase64Error(f"it has {_name(found[0])} at character {start + found.start() + 1}")
    blanks = written.count(" ")
    lost_plus = blanks > 0 and _SIXTY_THIRD.search(digits) is None
    digits = _WHITE_SPACE.sub("", digits).translate(_TO_STANDARD)
    if not digits:
        raise NotBase64Error("there is nothing after the data URL's head" if start else "it is empty")
    if padding > 2:
        raise NotBase64Error(f"it ends with {padding} '=', and padding has at most 2")
    if lost_plus and not _must_be_white_space(blanks, len(digits), padding):
        raise NotBase64Error(
            f"it has a blank at character {start + written.index(' ') + 1} and nowhere a '+', as when a form "
            "decoder reads each '+' as a blank: write '+' as %2B there, or use the URL-safe alphabet"
        )
    if len(digits) % 4 == 1:
        raise NotBase64Error(
            f"its {len(digits):,} characters are no whole number of bytes, as if some of them were lost"
        )
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


def _must_be_white_space(blanks: int, digits: int, padding: int) -> bool:
    """Whether the length leaves no room for a reading in which some of the blanks are ``+``."""
    return (digits + padding) % 4 == 0 and blanks < (4 if padding else 2)


def _name(character: str) -> str:
    if character == "=":
        return "padding ('=') before its end,"
    return repr(character) if character.isprintable() else f"U+{ord(character):04X}"
