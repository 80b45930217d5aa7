"""``loupe alias`` and ``loupe promote``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.client import Client, quoted
from app.cli.console import add_row, format_age, format_time, make_table, note, say, say_json, show
from app.cli.options import DEFAULT_SERVER, AsJson, Limit, Server, examples

app = typer.Typer(
    no_args_is_help=True, help="Aliases: names that point at models; champion answers predictions."
)

ProductId = Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of the product.")]
AliasName = Annotated[str, typer.Argument(metavar="ALIAS", help="Name of the alias.")]

promote_epilog = examples(
    "loupe promote screws mdl_…",
    "loupe promote screws mdl_… --alias canary --reason 'on line 2 for a week'",
    "loupe promote screws mdl_… --override --reason 'the new test images are harder'",
)


def promote(
    product: ProductId,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Id of a model of the product, mdl_…")],
    alias: Annotated[
        str, typer.Option("--alias", help="The alias to point at it; it is made if need be.")
    ] = "champion",
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the history.")] = None,
    override: Annotated[
        bool, typer.Option("--override", help="Also if the model failed its gate; the history records that.")
    ] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Point a product's champion, or another alias, at a model."""
    body = {"model": model, "reason": reason, "override": override}
    answer = Client(server).put(f"/products/{quoted(product)}/aliases/{quoted(alias)}", body)
    if as_json:
        say_json(answer)
        return
    say(f"{answer['product']}@{answer['name']} is {answer['model']}.")
    note(f"What it was before: loupe alias history {product} {alias}")


rollback_epilog = examples(
    "loupe rollback screws --reason 'too many rejects on line 2'", "loupe rollback screws --alias canary"
)


def roll_back(
    product: ProductId,
    alias: Annotated[str, typer.Option("--alias", help="The alias that goes back.")] = "champion",
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the history.")] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Point a product's champion, or another alias, again at the model before.

    Each call goes one step back. The model that is left stays; promote it again at any time.
    """
    body = {"alias": alias, "reason": reason}
    answer = Client(server).post(f"/products/{quoted(product)}/rollback", body)
    if as_json:
        say_json(answer)
        return
    say(f"{answer['product']}@{answer['name']} is {answer['model']} again.")
    note(f"What it was before: loupe alias history {product} {alias}")


@app.command("list")
def list_aliases(
    product: Annotated[
        str | None, typer.Argument(metavar="PRODUCT", help="Id of the product; all if not given.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List aliases with the models that they point at."""
    client = Client(server)
    products = [product] if product else [row["id"] for row in client.list_rows("/products", limit)["data"]]
    rows = [row for name in products for row in client.get(f"/products/{quoted(name)}/aliases")][:limit]
    if as_json:
        say_json(rows)
        return
    table = make_table("!alias", "product", "model", ">moved")
    for row in rows:
        add_row(table, row["name"], row["product"], row["model"], format_age(row["moved_at"]))
    show(table)
    if not rows:
        note("There is no alias yet: the first model that passes its gate becomes champion.")


@app.command("history")
def show_history(
    product: ProductId,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="Name of the alias.")] = "champion",
    limit: Limit = 20,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Show the moves of an alias, newest first."""
    path = f"/products/{quoted(product)}/aliases/{quoted(alias)}/history"
    page = Client(server).list_rows(path, limit)
    if as_json:
        say_json(page)
        return
    table = make_table("!moved", "from", "to", "by", "reason")
    for move in page["data"]:
        add_row(
            table,
            format_time(move["moved_at"]),
            move["from_model"] or "-",
            move["to_model"] or "removed",
            move["moved_by"] or "a client",
            _why(move),
        )
    show(table)
    if page["has_more"]:
        note("There are more: --limit")


@app.command("remove", epilog=examples("loupe alias remove screws canary"))
def remove_alias(product: ProductId, alias: AliasName, server: Server = DEFAULT_SERVER) -> None:
    """Remove an alias other than champion; its model stays."""
    Client(server).delete(f"/products/{quoted(product)}/aliases/{quoted(alias)}")
    say(f"{product}@{alias} is removed.")


def _why(move: dict[str, Any]) -> str:
    marks = [name for name in ("override", "rollback") if move.get(f"is_{name}")]
    return " ".join([*(f"({mark})" for mark in marks), move["reason"] or ""]).rstrip()
