"""Base64 as clients write it: in both alphabets, as a data URL, with line breaks, without padding."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

_DATA_URL = re.compile(r"\s*data:", re.IGNORECASE)
_BASE64_HEAD = re.compile(r"\s*data:[^,]*;\s*base64\s*,", re.IGNORECASE)
_MAX_HEAD = 1000
_WHITE_SPACE = re.compile(r"\s+")
_FOREIGN = re.compile(r"[^A-Za-z0-9+/_\-\s]")
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
        text = text[:start] + unquote(text[start:])
    digits = text[start:].rstrip("= \t\r\n")
    padding = text[start + len(digits) :].count("=")
    if found := _FOREIGN.search(digits):
        raise NotBase64Error(f"it has {_name(found[0])} at character {start + found.start() + 1}")
    digits = _WHITE_SPACE.sub("", digits).translate(_TO_STANDARD)
    if not digits:
        raise NotBase64Error("there is nothing after the data URL's head" if start else "it is empty")
    if padding > 2:
        raise NotBase64Error(f"it ends with {padding} '=', and padding has at most 2")
    if len(digits) % 4 == 1:
        raise NotBase64Error(
            f"its {len(digits):,} characters are no whole number of bytes, as if some of them were lost"
        )
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


def _name(character: str) -> str:
    if character == "=":
        return "padding ('=') before its end,"
    return repr(character) if character.isprintable() else f"U+{ord(character):04X}"
