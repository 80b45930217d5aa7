"""Numbers and names as the page writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST_NAME = 60


def share(value: float | None) -> str:
    """A share as per cent with one decimal; 100 % is only what is all of it, and 0 % what is none."""
    if value is None:
        return "–"
    if 0 < value < 0.0005 or 0.9995 <= value < 1:
        return "< 0.1 %" if value < 0.5 else "> 99.9 %"
    text = f"{100 * value:.1f}"
    return f"{text.removesuffix('.0') if value in (0, 1) else text} %"


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def interval(estimate: Mapping[str, Any]) -> str:
    """Of an estimate, its bounds; where the method yields none, why."""
    low, high = estimate["low"], estimate["high"]
    return "no interval" if low is None or high is None else f"{share(low)} to {share(high)}"


def shown(name: str, longest: int = LONGEST_NAME) -> str:
    """A name from an upload: what cannot be seen is written out, the middle of a long one is left out."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


def seconds(value: float) -> str:
    """A duration in the two units that matter."""
    whole = round(value)
    if value < 10:
        return f"{value:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(value: int) -> str:
    """Bytes as MB or kB, of 1,000."""
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.0f} kB"
