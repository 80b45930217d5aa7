"""What a deletion takes with it, and the question before it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

import typer

from app.cli.client import Client, CommandError
from app.cli.console import err, note
from app.schemas.job_kinds import JOB_KINDS
from app.words import count


def list_jobs(client: Client, product: str) -> list[dict[str, Any]]:
    """All jobs of a product."""
    rows: list[dict[str, Any]] = client.list_rows("/jobs", sys.maxsize, product=product)["data"]
    return rows


def count_jobs(jobs: Iterable[dict[str, Any]]) -> list[str]:
    """``2 trainings``, ``1 export``, ``2 models``: what goes with these jobs; an import is its dataset's."""
    jobs = list(jobs)
    kinds = Counter(job["kind"] for job in jobs)
    counts = [
        count(kinds[kind.name], kind.noun.partition(" ")[2], kind.plural)
        for kind in JOB_KINDS.values()
        if kinds[kind.name] and not kind.makes_dataset
    ]
    if models := sum(job["model"] is not None for job in jobs):
        counts.append(count(models, "model", "models"))
    return counts


def confirm(question: str, *, force: bool, yes: bool, name: str | None = None) -> None:
    """Ends the command unless the user agrees, by typing ``name`` if there is one.

    A script is not asked, but must say ``--yes`` to delete more than it names.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and err.is_terminal):
        if force:
            raise CommandError("There is no terminal to ask on.", hint="Add --yes to --force.")
        return
    if name is None:
        agrees = typer.confirm(question, err=True)
    else:
        agrees = (
            typer.prompt(f"{question} Type {name} to agree", err=True, default="", show_default=False) == name
        )
    if not agrees:
        note("Nothing is deleted.")
        raise typer.Exit(1)
