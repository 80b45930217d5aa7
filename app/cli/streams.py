"""Standard output and error: they take every text, whatever their encoding, and a reader that goes away."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata

_ERRORS = "loupe_plain"
_PLAIN = {
    "…": "...",
    "·": ".",
    "–": "-",
    "—": "-",
    "×": "x",
    "→": "->",
    "←": "<-",
    "≥": ">=",
    "≤": "<=",
    "•": "*",
}


def prepare_streams() -> None:
    """Lets both streams write what their encoding lacks, in plain letters or escaped, instead of failing."""
    codecs.register_error(_ERRORS, _to_plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def flush_streams() -> None:
    """Raises OSError here, where it can be told, for what Python would only report after the end."""
    sys.stdout.flush()
    sys.stderr.flush()


def silence_streams() -> None:
    """After a reader has left, or on a full disk: the rest goes nowhere, also that of Python at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _to_plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # One character at a time: the next one may well be in the encoding.
    return _plain(error.object[error.start]), error.start + 1


def _plain(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        horizontal = name.endswith(("HORIZONTAL", " LEFT", " RIGHT")) and " AND " not in name
        return "-" if horizontal else "|" if name.endswith("VERTICAL") and " AND " not in name else "+"
    if name.startswith(("BRAILLE PATTERN", "BLOCK", "FULL BLOCK", "LEFT ", "LOWER ", "UPPER ")):
        return "#"
    return character.encode("ascii", "backslashreplace").decode("ascii")
