"""``loupe leaderboard``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.client import Client, quoted
from app.cli.console import add_row, format_age, make_table, note, say_json, show
from app.cli.options import DEFAULT_SERVER, AsJson, Server, examples

epilog = examples("loupe leaderboard screws", "loupe leaderboard screws --json")

VERDICTS = {
    "better": "better",
    "worse": "worse",
    "no_difference_shown": "no difference shown",
    "too_few_images": "too few images to tell",
}


def show_leaderboard(
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of the product.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=50, help="Newest models.")] = 20,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Compare the models of a product on the test images that they share.

    Accuracies of models that were tested on other images cannot be compared; this compares each two on the
    images that both were tested on, and says whether the difference is more than chance.
    """
    answer = Client(server).get(f"/products/{quoted(product)}/leaderboard", limit=limit)
    if as_json:
        say_json(answer)
        return
    table = make_table(
        ">",
        "!model",
        "network",
        ">same images",
        ">own test",
        "against the champion",
        ">age",
        drops=("age", "own test", "network"),
    )
    for row in answer["models"]:
        add_row(
            table,
            row["place"] or "-",
            row["model"],
            row["network"],
            _accuracy(row["common"]),
            f"{row['accuracy']['value']:.4f}",
            "champion" if row["model"] == answer["champion"] else _verdict(row["against_champion"]),
            format_age(row["created_at"]),
        )
    show(table)
    if not answer["models"]:
        note(f"There is no model yet: loupe train {product} --follow")
    elif answer["common_images"]:
        note(f"same images: {answer['common_images']} that all models with a place were tested on")


def _accuracy(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate['value']:.4f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _verdict(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return "no images in common"
    return (
        f"{VERDICTS[comparison['verdict']]}, {comparison['only_this_right']} : "
        f"{comparison['only_other_right']}, p {comparison['p_value']:.2g}"
    )
