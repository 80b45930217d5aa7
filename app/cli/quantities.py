"""Durations and sizes as people write them: ``2h``, ``1h30min``, ``10MB``."""

from __future__ import annotations

import re

from app.cli.client import CommandError

_SECONDS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def parse_duration(text: str) -> float:
    """Seconds; a number alone is of seconds. Raises CommandError."""
    written = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", written):
        return float(written)
    parts = _PART.findall(written)
    if not parts or _PART.sub("", written).strip() or any(unit not in _SECONDS for _, unit in parts):
        raise CommandError(f"{text!r} is not a duration.", hint="For example: 90s, 30min, 2h, 1h30min.")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def parse_bytes(text: str) -> int:
    """Bytes; a number alone is of bytes. Raises CommandError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in _BYTES:
        raise CommandError(f"{text!r} is not a size.", hint="For example: 500kB, 10MB, 1.5GiB.")
    return round(float(found[1]) * _BYTES[found[2]])
