"""``--keep``, ``--drop`` and ``--merge``: which classes stay, and under which names."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.client import CommandError

Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="CLASS",
        help="A class that stays; all others leave, but those of --merge. May be given often.",
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option("--drop", metavar="CLASS", help="A class to leave out; may be given often."),
]
Merge = Annotated[
    list[str] | None,
    typer.Option("--merge", metavar="NEW=OLD,OLD", help="Classes that become one; may be given often."),
]


def read_class_map(keep: list[str] | None, drop: list[str] | None, merge: list[str] | None) -> dict[str, Any]:
    """The class map of a request; empty where no option was given."""
    merged: dict[str, list[str]] = {}
    for given in merge or ():
        new, equals, old = given.partition("=")
        if not new or not equals or not old:
            raise CommandError(f"--merge {given} is not NEW=OLD,OLD.", hint="--merge scratch=deep,fine")
        merged.setdefault(new, []).extend(old.split(","))
    return {name: value for name, value in (("keep", keep), ("drop", drop), ("merge", merged)) if value}
