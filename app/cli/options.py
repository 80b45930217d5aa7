"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SERVER = "http://127.0.0.1:8000"

Server = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="LOUPE_SERVER",
        metavar="URL",
        help="The Loupe to talk to. LOUPE_API_KEY is sent along where it is set.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the server's answer as JSON, for scripts.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Most rows to show.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Folder for the database, pictures, models and logs."),
]


def examples(*lines: str) -> str:
    """The epilog of a command's help."""
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"[cyan]{line}[/cyan]" for line in lines)
