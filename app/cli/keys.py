"""``loupe key``"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from app.cli.client import Client, quoted
from app.cli.console import (
    add_row,
    format_age,
    format_time,
    make_table,
    note,
    say,
    say_json,
    show,
    show_fields,
)
from app.cli.deletions import confirm
from app.cli.options import DEFAULT_SERVER, AsJson, Limit, Server, Yes, examples
from app.schemas.scopes import MEANINGS, SCOPES

app = typer.Typer(no_args_is_help=True, help="Keys: who may do what; the commands here need one with admin.")

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, key_…, not the key itself.")]
MAX_DAYS = 36_500
MAX_OVERLAP_HOURS = 720


@app.command(
    "create",
    epilog=examples(
        "loupe key create 'camera of line 2' --scope predict --product screws",
        "loupe key create Ann --scope write --scope promote --days 90",
        "loupe key create Prometheus --scope read",
    ),
)
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what uses it.")],
    scope: Annotated[
        list[str],
        typer.Option("--scope", metavar="SCOPE", help=f"{', '.join(SCOPES)}; several times for several."),
    ],
    product: Annotated[
        list[str] | None,
        typer.Option("--product", metavar="PRODUCT", help="Bind it to this product; several times for more."),
    ] = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, max=MAX_DAYS, help="Days until it ends; else never.")
    ] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Make a key, and show it this once.

    The scopes write and promote imply read, admin implies all.
    """
    expires_at = None if days is None else (datetime.now(UTC) + timedelta(days=days)).isoformat()
    body = {"name": name, "scopes": scope, "products": product or None, "expires_at": expires_at}
    _show_new(Client(server).post("/api-keys", body), as_json)


@app.command("list")
def list_keys(limit: Limit = 50, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """List the keys, newest first; LOUPE_API_KEY is not among them."""
    page = Client(server).list_rows("/api-keys", limit)
    if as_json:
        say_json(page)
        return
    table = make_table("!id", "name", "!begins", "scopes", "products", "expires", ">used")
    for key in page["data"]:
        add_row(
            table,
            key["id"],
            key["name"],
            key["prefix"],
            ", ".join(key["scopes"]),
            _describe_products(key),
            format_time(key["expires_at"]) or "never",
            format_age(key["last_used_at"]) or "never",
        )
    show(table)
    if not page["data"]:
        note("There is no key yet: loupe key create NAME --scope SCOPE")


@app.command("show")
def show_key(key: KeyId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Show what a key may do, in which products, and when it was used last."""
    answer = Client(server).get(f"/api-keys/{quoted(key)}")
    if as_json:
        say_json(answer)
        return
    show_fields(
        {
            "id": answer["id"],
            "name": answer["name"],
            "begins with": answer["prefix"],
            "products": _describe_products(answer),
            "created": format_time(answer["created_at"]),
            "expires": format_time(answer["expires_at"]) or "never",
            "last used": format_time(answer["last_used_at"]) or "never",
            "rotated": format_time(answer["rotated_at"]) or None,
            "secret before": f"until {format_time(answer['previous_until'])}"
            if answer["previous_until"]
            else None,
            **_describe_limits(answer),
            **{f"may {scope}": MEANINGS.get(scope, "") for scope in answer["scopes"]},
        }
    )


@app.command("rotate", epilog=examples("loupe key rotate key_…", "loupe key rotate key_… --overlap-hours 0"))
def rotate_key(
    key: KeyId,
    overlap_hours: Annotated[
        float,
        typer.Option(
            "--overlap-hours", min=0, max=MAX_OVERLAP_HOURS, help="How long the secret before is good for."
        ),
    ] = 24,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Give a key a new secret, and show it this once; the one before is good for a while."""
    body = {"overlap_seconds": round(overlap_hours * 3600)}
    _show_new(Client(server).post(f"/api-keys/{quoted(key)}/rotate", body), as_json)


@app.command(
    "limit",
    epilog=examples(
        "loupe key limit key_… --requests-per-minute 600 --predictions-per-minute 3000",
        "loupe key limit key_… --concurrent-jobs 2 --stored-images 100000",
        "loupe key limit key_… --concurrent-jobs 0",
    ),
)
def limit_key(
    key: KeyId,
    requests_per_minute: Annotated[
        int | None,
        typer.Option("--requests-per-minute", min=0, metavar="N", help="Requests of any kind in a minute."),
    ] = None,
    predictions_per_minute: Annotated[
        int | None,
        typer.Option("--predictions-per-minute", min=0, metavar="N", help="Images predicted in a minute."),
    ] = None,
    upload_bytes_per_day: Annotated[
        int | None,
        typer.Option(
            "--upload-bytes-per-day",
            min=0,
            metavar="N",
            help="Bytes of archives sent in a day, also of uploads that failed.",
        ),
    ] = None,
    concurrent_jobs: Annotated[
        int | None,
        typer.Option("--concurrent-jobs", min=0, metavar="N", help="Jobs that are queued or running."),
    ] = None,
    stored_images: Annotated[
        int | None,
        typer.Option(
            "--stored-images", min=0, metavar="N", help="Images in the datasets that the key imported."
        ),
    ] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Set what a key may use up. What is not given stays; 0 takes a limit away, for the server's default."""
    given = {
        "requests_per_minute": requests_per_minute,
        "predictions_per_minute": predictions_per_minute,
        "upload_bytes_per_day": upload_bytes_per_day,
        "concurrent_jobs": concurrent_jobs,
        "stored_images": stored_images,
    }
    limits = {name: value or None for name, value in given.items() if value is not None}
    answer = Client(server).patch(f"/api-keys/{quoted(key)}", {"limits": limits})
    if as_json:
        say_json(answer)
        return
    show_fields(_describe_limits(answer) or {"limits": "none of its own"})


@app.command("delete", epilog=examples("loupe key delete key_…"))
def delete_key(key: KeyId, yes: Yes = False, server: Server = DEFAULT_SERVER) -> None:
    """Revoke a key: within two seconds no process takes it."""
    confirm(f"Revoke key {key}?", force=False, yes=yes)
    Client(server).delete(f"/api-keys/{quoted(key)}")
    say(f"Key {key} is revoked.")


def _show_new(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(answer)
        return
    say(answer["key"])
    note(f"This is key {answer['id']} ({answer['name']}). It is shown this once: keep it safe.")
    note("A client sends it as `Authorization: Bearer KEY`; for commands set LOUPE_API_KEY.")
    if answer["previous_until"]:
        note(f"The secret before is good until {format_time(answer['previous_until'])}.")


def _describe_limits(key: dict[str, Any]) -> dict[str, str]:
    return {
        name.replace("_", " "): f"{value:,}" for name, value in key["limits"].items() if value is not None
    }


def _describe_products(key: dict[str, Any]) -> str:
    if key["products"] is None:
        return "all"
    return ", ".join(key["products"]) or "none: all that it was bound to are deleted"
