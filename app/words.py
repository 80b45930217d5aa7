"""How sentences say numbers."""

from __future__ import annotations


def count(number: int, one: str, several: str) -> str:
    """``1 image``, ``2,000 images``."""
    return f"{number:,} {one if number == 1 else several}"
