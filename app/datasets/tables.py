"""Tables beside the images that may tell their classes: which are read, and what is said of the others."""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.datasets.labels import READ_TABLES
from app.datasets.names import show
from app.errors import ChoiceNeededError, DatasetError, FieldError

_TABLES = re.compile(r"\.(csv|tsv|jsonl|ndjson|parquet|xlsx?)$")
_NAMED_SO = re.compile(r"(classes|labels?|annotations?|metadata|ground.?truth)[^/]*\.(json|txt|xml|ya?ml)$")
_LISTED = 3


def find_tables(names: Iterable[str]) -> tuple[str, ...]:
    """Those of an upload's files that look like a table, the outermost first."""
    found = {name for name in names if _TABLES.search(key := name.casefold()) or _NAMED_SO.search(key)}
    return tuple(sorted(found, key=lambda name: (name.count("/"), name)))


def choose_tables(names: Iterable[str], labels: str | None) -> tuple[str, ...]:
    """Those that are read: of all of the kinds that Loupe reads, the one that ``labels`` names, or all.

    Raises ChoiceNeededError if several lie in one folder, and DatasetError if there is none that is named so.
    """
    found = [name for name in find_tables(names) if name.casefold().endswith(READ_TABLES)]
    if labels is not None:
        chosen = tuple(name for name in found if name == labels or name.endswith(f"/{labels}"))
        if not chosen:
            raise DatasetError(
                f"there is no table {show(labels)} in the upload",
                hint=f"Its tables are {', '.join(map(show, found[:10])) or 'none'}; Loupe reads "
                f"{', '.join(READ_TABLES)}.",
            )
        return chosen
    in_folder: dict[str, list[str]] = {}
    for name in found:
        in_folder.setdefault(name.rpartition("/")[0], []).append(name)
    for several in in_folder.values():
        if len(several) > 1:
            options = [name.rpartition("/")[2] for name in several]
            raise ChoiceNeededError(
                f"several tables could say the classes: {', '.join(map(show, options))}",
                hint="Choose one: `loupe job retry JOB --labels TABLE`, or `POST /jobs/<id>/retry` "
                '{"labels": "TABLE"}. The upload is kept.',
                errors=tuple(FieldError("/labels", option) for option in options[:10]),
            )
    return tuple(found)


def mention_tables(tables: tuple[str, ...]) -> str:
    """The end of a sentence about images without classes; empty where there is no table."""
    if not tables:
        return ""
    more = f" and {len(tables) - _LISTED} more" if len(tables) > _LISTED else ""
    listed = ", ".join(map(show, tables[:_LISTED])) + more
    return f"; Loupe reads classes from folders, CSV and JSON lines, not from tables such as {listed}"
