"""``loupe audit``"""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.client import Client
from app.cli.console import add_row, format_time, make_table, note, out, show
from app.cli.options import DEFAULT_SERVER, Limit, Server, examples

audit_epilog = examples(
    "loupe audit",
    "loupe audit --product screws --action DELETE",
    "loupe audit --outcome refused --since 2026-01-31T08:00:00Z",
    "loupe audit --json --since 2026-01-31T00:00:00Z > audit.jsonl",
)


def audit(
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Id or name of a key.")] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="TEXT", help="A part of it: DELETE, or /jobs.")
    ] = None,
    product: Annotated[str | None, typer.Option("--product", metavar="PRODUCT", help="Its id.")] = None,
    thing: Annotated[
        str | None, typer.Option("--thing", metavar="ID", help="A job, a dataset, a key, or a name.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="done, unchanged, refused or failed.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="As 2026-01-31T08:00:00Z, with its zone.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")] = None,
    limit: Limit = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all that fits as JSON lines, oldest first.")
    ] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Show who did what, or tried to; it needs a key with the scope admin."""
    wanted = {
        "key": key,
        "action": action,
        "product": product,
        "thing": thing,
        "outcome": outcome,
        "since": since,
        "until": until,
    }
    client = Client(server)
    if as_json:
        with client.stream("/audit", headers={"Accept": "application/x-ndjson"}, **wanted) as response:
            for line in response.iter_lines():
                out.file.write(line + "\n")
        return
    page = client.list_rows("/audit", limit, **wanted)
    table = make_table(
        "!when", "who", "!from", "action", "things", "outcome", ">times", drops=("times", "from", "outcome")
    )
    for row in page["data"]:
        add_row(
            table,
            format_time(row["at"]),
            (row["caller"] or "nobody known") + (" (browser)" if row["by_session"] else ""),
            row["address"],
            row["action"],
            ", ".join(row["things"]),
            f"{row['outcome']} ({row['status']})",
            row["times"],
        )
    show(table)
    if page["has_more"]:
        note("There is more: --limit, or --json for all of it.")
