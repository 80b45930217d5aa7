"""``loupe webhook``"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli.client import Client, CommandError, quoted
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

app = typer.Typer(
    no_args_is_help=True, help="Webhooks: addresses that Loupe posts to when something happens."
)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Id of the webhook, whk_…")]
STYLES = {"delivered": "green", "pending": "yellow", "failed": "red"}


@app.command(
    "create",
    epilog=examples(
        "loupe webhook create https://hooks.example/loupe",
        "loupe webhook create https://hooks.example/line2 --event job.ended --product screws",
    ),
)
def create_webhook(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where messages are posted.")],
    event: Annotated[
        list[str] | None, typer.Option("--event", help="A type of event that it takes; all if not given.")
    ] = None,
    product: Annotated[
        list[str] | None, typer.Option("--product", help="A product whose events it takes; all if not given.")
    ] = None,
    text: Annotated[str | None, typer.Option("--note", help="What it is for, for people.")] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Make a webhook and show its secret, once."""
    given = {"events": event or None, "products": product or None, "note": text}
    body = {"url": url, **{name: value for name, value in given.items() if value is not None}}
    answer = Client(server).post("/webhooks", body)
    if as_json:
        say_json(answer)
        return
    say(f"Webhook {answer['id']} is there.")
    _show_secret(answer)
    note(f"Try it: loupe webhook test {answer['id']}")


@app.command("list")
def list_webhooks(limit: Limit = 100, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """List the webhooks, newest first."""
    page = Client(server).list_rows("/webhooks", limit)
    if as_json:
        say_json(page)
        return
    table = make_table(
        "!id",
        "url",
        "events",
        "products",
        "state",
        "note",
        ">age",
        drops=("age", "products", "note", "events"),
    )
    for webhook in page["data"]:
        add_row(
            table,
            webhook["id"],
            webhook["url"],
            _names(webhook["events"]),
            _names(webhook["products"]),
            Text("enabled", style="green") if webhook["enabled"] else Text("disabled", style="red"),
            webhook["note"] or "",
            format_age(webhook["created_at"]),
        )
    show(table)
    if not page["data"]:
        note("There is no webhook yet: loupe webhook create URL")


@app.command("show")
def show_webhook(webhook: WebhookId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Show one webhook, without its secret."""
    answer = Client(server).get(_path(webhook))
    if as_json:
        say_json(answer)
    else:
        _show(answer)


@app.command("update", epilog=examples("loupe webhook update whk_… --enable"))
def update_webhook(
    webhook: WebhookId,
    url: Annotated[str | None, typer.Option("--url", help="Where messages are posted.")] = None,
    event: Annotated[list[str] | None, typer.Option("--event", help="A type of event that it takes.")] = None,
    product: Annotated[
        list[str] | None, typer.Option("--product", help="A product whose events it takes.")
    ] = None,
    text: Annotated[str | None, typer.Option("--note", help="What it is for, for people.")] = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether messages are sent to it.")
    ] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Change a webhook; what is not given stays."""
    given = {
        "url": url,
        "events": event or None,
        "products": product or None,
        "note": text,
        "enabled": enable,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise CommandError(
            "Nothing to change.", hint="Give --url, --event, --product, --note, --enable or --disable."
        )
    answer = Client(server).patch(_path(webhook), changes)
    if as_json:
        say_json(answer)
    else:
        _show(answer)


@app.command("test")
def send_test(webhook: WebhookId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Send a test message now, and say what came of it."""
    answer = Client(server).post(f"{_path(webhook)}/test")
    if as_json:
        say_json(answer)
    if not answer["delivered"]:
        raise CommandError(answer["error"], hint=answer["hint"])
    if not as_json:
        say(f"The receiver answered {answer['status_code']} in {answer['seconds']:.2f} s.")


@app.command("rotate")
def rotate_secret(webhook: WebhookId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Give a webhook a new secret and show it, once; the old one signs too for 24 hours."""
    answer = Client(server).post(f"{_path(webhook)}/rotate")
    if as_json:
        say_json(answer)
    else:
        _show_secret(answer)


@app.command("deliveries")
def list_deliveries(
    webhook: WebhookId, limit: Limit = 20, as_json: AsJson = False, server: Server = DEFAULT_SERVER
) -> None:
    """List what a webhook was sent in the last 30 days, newest first, and what came of it."""
    page = Client(server).list_rows(f"{_path(webhook)}/deliveries", limit)
    if as_json:
        say_json(page)
        return
    table = make_table(
        "!id",
        "event",
        "product",
        "status",
        ">attempts",
        "error",
        ">age",
        "next attempt",
        drops=("next attempt", "age", "product", "attempts", "error"),
    )
    for row in page["data"]:
        add_row(
            table,
            row["id"],
            row["type"],
            row["product"] or "-",
            Text(row["status"], style=STYLES[row["status"]]),
            row["attempts"],
            row["error"] or "",
            format_age(row["created_at"]),
            format_time(row["next_attempt_at"]) if row["next_attempt_at"] else "-",
        )
    show(table)
    if not page["data"]:
        note(f"Nothing was sent to it yet. Try it: loupe webhook test {webhook}")


@app.command("retry", epilog=examples("loupe webhook retry whk_… dlv_…"))
def retry_delivery(
    webhook: WebhookId,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery, dlv_…")],
    server: Server = DEFAULT_SERVER,
) -> None:
    """Send a message again, under the same id, also one that arrived."""
    Client(server).post(f"{_path(webhook)}/deliveries/{quoted(delivery)}/retry")
    say(f"{delivery} is sent again.")


@app.command("delete")
def delete_webhook(webhook: WebhookId, yes: Yes = False, server: Server = DEFAULT_SERVER) -> None:
    """Delete a webhook with its log."""
    confirm(f"Delete webhook {webhook}?", force=False, yes=yes)
    Client(server).delete(_path(webhook))
    say(f"Webhook {webhook} is deleted.")


def _path(webhook: str) -> str:
    return f"/webhooks/{quoted(webhook)}"


def _names(values: list[str] | None) -> str:
    return "all" if values is None else ", ".join(values)


def _show(webhook: dict[str, Any]) -> None:
    show_fields(
        {
            "id": webhook["id"],
            "url": webhook["url"],
            "events": _names(webhook["events"]),
            "products": _names(webhook["products"]),
            "note": webhook["note"],
            "state": "enabled" if webhook["enabled"] else "disabled",
            "disabled because": webhook["disabled_reason"],
            "secret changed": webhook["rotated_at"] and format_time(webhook["rotated_at"]),
            "created": format_time(webhook["created_at"]),
        }
    )


def _show_secret(webhook: dict[str, Any]) -> None:
    say(f"Secret: {webhook['secret']}")
    note("It is not shown again. The receiver verifies messages with it: see docs/webhooks.md.")
