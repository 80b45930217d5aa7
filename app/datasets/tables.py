"""Tables beside the images that may tell their classes. None is read yet; errors and advice name them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.datasets.names import show

_TABLES = re.compile(r"\.(csv|tsv|jsonl|ndjson|parquet|xlsx?)$")
_NAMED_SO = re.compile(r"(classes|labels?|annotations?|metadata|ground.?truth)[^/]*\.(json|txt|xml|ya?ml)$")
_LISTED = 3


def find_tables(names: Iterable[str]) -> tuple[str, ...]:
    """Those of an upload's files that look like a table, the outermost first."""
    found = {name for name in names if _TABLES.search(key := name.casefold()) or _NAMED_SO.search(key)}
    return tuple(sorted(found, key=lambda name: (name.count("/"), name)))


def mention_tables(tables: tuple[str, ...]) -> str:
    """The end of a sentence about images without classes; empty where there is no table."""
    if not tables:
        return ""
    more = f" and {len(tables) - _LISTED} more" if len(tables) > _LISTED else ""
    listed = ", ".join(map(show, tables[:_LISTED])) + more
    return f"; Loupe reads classes from folders, not yet from tables such as {listed}"
