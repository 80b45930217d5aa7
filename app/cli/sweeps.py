"""``loupe sweep``"""

from __future__ import annotations

import time
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import typer
from rich.progress import Progress
from typer.core import TyperGroup

from app.cli.assignments import parse_assignments, parse_value
from app.cli.beginnings import note_dataset
from app.cli.class_maps import Drop, Keep, Merge, read_class_map
from app.cli.client import Client, CommandError, UnreachableError, quoted
from app.cli.console import (
    add_row,
    format_age,
    make_table,
    note,
    say,
    say_above,
    say_json,
    show,
    work_progress,
)
from app.cli.follow import DETACHED
from app.cli.job_end import show_end
from app.cli.job_states import describe_sweep
from app.cli.options import DEFAULT_SERVER, AsJson, Limit, Server, examples
from app.cli.quantities import parse_bytes, parse_duration
from app.cli.sweep_tables import describe_changes, describe_time, name_candidate, show_candidates, show_sweep

POLL_SECONDS = 1.0
START = "start"
SweepId = Annotated[str, typer.Argument(metavar="SWEEP", help="Id of the sweep, swp_…")]


class SweepGroup(TyperGroup):
    """``loupe sweep PRODUCT`` is ``loupe sweep start PRODUCT``."""

    # Any here: typer carries a click of its own, whose types it does not publish.
    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        # A verb that is misspelt is no product.
        verbs = [*self.commands, *ctx.help_option_names]
        if args and not get_close_matches(args[0], verbs, cutoff=0.7):
            args = [START, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=SweepGroup,
    no_args_is_help=True,
    help="Sweeps: many networks trained on one split, of which the best becomes a model.\n\n"
    "`loupe sweep PRODUCT` starts one.",
)


@app.command(
    START,
    epilog=examples(
        "loupe sweep screws --networks mobilenet_v2,efficientnet_lite0,resnet18",
        "loupe sweep screws --budget 2h --max-ms 10",
        "loupe sweep screws --all --epochs 10 --detach",
        "loupe sweep screws --networks mobilenet_v2 --grid learning_rate=0.001,0.003",
    ),
)
def start_sweep(
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of the product.")],
    networks: Annotated[
        str | None,
        typer.Option("--networks", metavar="A,B,C", help="Networks of `loupe networks` to try."),
    ] = None,
    try_all: Annotated[bool, typer.Option("--all", help="Try every network.")] = False,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="Time for all of it, such as 2h: as many networks as fit; then the best so far wins.",
        ),
    ] = None,
    max_ms: Annotated[
        float | None,
        typer.Option("--max-ms", help="Only networks that answer in so many milliseconds an image."),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option("--max-bytes", metavar="SIZE", help="Only networks of at most this size, such as 10MB."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Id of a dataset; if not given, the newest that can be trained on."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the train split.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Images in one step.")] = None,
    image_size: Annotated[
        str | None, typer.Option("--image-size", metavar="N|HxW", help="Input size in pixels.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of weights, order, augmentation, split.")
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option("--min-accuracy", help="Test accuracy under which the winner fails its gate."),
    ] = None,
    on_failure: Annotated[
        Literal["keep", "discard"] | None,
        typer.Option("--on-failure", help="Whether a model that fails its gate is kept; it is by default."),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "gpu"] | None,
        typer.Option("--device", help="What to train on; auto takes a GPU where the worker has one."),
    ] = None,
    all_models: Annotated[
        bool, typer.Option("--all-models", help="Make models of the losers too; they are ranked the same.")
    ] = False,
    keep: Keep = None,
    drop: Drop = None,
    merge: Merge = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid", metavar="NAME=A,B", help="A setting with several values to try; may be given often."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be given often."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start it, and do not watch it.")] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Train many networks on one split, drop the worse half again and again, keep the best.

    They are compared on the validation images; only the winner becomes a model and is tested.
    Ctrl-C leaves the sweep running. The status is 1 unless the winner passed its gate.
    """
    if networks is not None and try_all:
        raise CommandError("--networks and --all contradict each other.", hint="Give one of them.")
    if networks is None and not try_all and budget is None and max_ms is None and max_bytes is None:
        raise CommandError(
            "Which networks?",
            hint="Give --networks A,B,C, --all, --budget 2h, --max-ms 10 or --max-bytes 10MB.",
        )
    hyperparameters, split = parse_assignments(settings or [])
    flags = {
        "epochs": epochs,
        "batch_size": batch_size,
        "image_size": None if image_size is None else parse_value(image_size),
        "seed": seed,
    }
    hyperparameters |= {name: value for name, value in flags.items() if value is not None}
    gate = {"min_accuracy": min_accuracy, "on_failure": on_failure}
    named = None if networks is None else [name.strip() for name in networks.split(",") if name.strip()]
    body: dict[str, Any] = {"product": product, "hyperparameters": hyperparameters}
    body |= {
        name: value
        for name, value in {
            "networks": "all" if try_all else named,
            "budget_seconds": None if budget is None else parse_duration(budget),
            "max_milliseconds": max_ms,
            "max_bytes": None if max_bytes is None else parse_bytes(max_bytes),
            "dataset": dataset,
            "device": device,
            "keep": "all" if all_models else None,
            "grid": _parse_grid(grid or []) or None,
            "split": split or None,
            "gate": {name: value for name, value in gate.items() if value is not None} or None,
            "class_map": read_class_map(keep, drop, merge) or None,
        }.items()
        if value is not None
    }
    client = Client(server)
    sweep = client.post("/sweeps", body)
    if detach:
        if as_json:
            say_json(sweep)
            return
        say(sweep["id"])
        note_dataset(client, sweep["dataset"]["id"], is_chosen=dataset is None)
        note(f"Watch it: loupe sweep follow {sweep['id']}")
        return
    note(f"{sweep['id']}: {len(sweep['candidates'])} trainings, {describe_time(sweep)}")
    note_dataset(client, sweep["dataset"]["id"], is_chosen=dataset is None)
    _finish(client, _follow(client, sweep["id"]), as_json=as_json)


@app.command("list")
def list_sweeps(
    product: Annotated[str | None, typer.Option("--product", help="Only sweeps of this product.")] = None,
    status: Annotated[
        Literal["running", "succeeded", "failed", "cancelled"] | None,
        typer.Option("--status", help="Only sweeps in this state."),
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List sweeps, newest first."""
    page = Client(server).list_rows("/sweeps", limit, product=product, status=status)
    if as_json:
        say_json(page)
        return
    table = make_table(
        "!id",
        "!status",
        "product",
        ">networks",
        "best",
        ">valid",
        ">age",
        drops=("age", "networks", "product", "best"),
    )
    for sweep in page["data"]:
        best = next((one for one in sweep["candidates"] if one["accuracy"]), None)
        add_row(
            table,
            sweep["id"],
            describe_sweep(sweep),
            sweep["product"],
            len(sweep["candidates"]),
            name_candidate(best) if best else None,
            f"{best['accuracy']['value']:.4f}" if best else None,
            format_age(sweep["created_at"]),
        )
    show(table)
    if page["has_more"]:
        note("There are more: --limit")


@app.command("show")
def show_one(sweep: SweepId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Show one sweep: its candidates, best first, and how far it is."""
    answer = Client(server).get(f"/sweeps/{quoted(sweep)}")
    if as_json:
        say_json(answer)
        return
    show_sweep(answer)


@app.command("follow")
def follow_sweep(sweep: SweepId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Watch a sweep to its end. Ctrl-C leaves it running."""
    client = Client(server)
    _finish(client, _follow(client, sweep), as_json=as_json)


@app.command("cancel")
def cancel_sweep(sweep: SweepId, server: Server = DEFAULT_SERVER) -> None:
    """End a sweep with all its trainings and keep nothing of them."""
    answer = Client(server).post(f"/sweeps/{quoted(sweep)}/cancel")
    is_over = answer["status"] == "cancelled"
    say(f"{answer['id']} is {'cancelled' if is_over else answer['status'] + ' and will be cancelled'}.")


def _parse_grid(given: list[str]) -> dict[str, list[Any]]:
    grid: dict[str, list[Any]] = {}
    for one in given:
        name, equals, values = one.partition("=")
        if not name.strip() or not equals or not values:
            raise CommandError(f"--grid {one} is not NAME=A,B.", hint="--grid learning_rate=0.001,0.003")
        grid.setdefault(name.strip(), []).extend(parse_value(value.strip()) for value in values.split(","))
    return grid


def _follow(client: Client, sweep_id: str) -> dict[str, Any]:
    try:
        with work_progress() as progress:
            return _watch(client, sweep_id, progress)
    except KeyboardInterrupt:
        note(f"Detached; {sweep_id} goes on.", style=None)
        note(f"Follow it again: loupe sweep follow {sweep_id}    End it: loupe sweep cancel {sweep_id}")
        raise typer.Exit(DETACHED) from None
    except UnreachableError:
        note(f"{sweep_id} is kept. Once the server answers again: loupe sweep follow {sweep_id}", style=None)
        raise


def _watch(client: Client, sweep_id: str, progress: Progress) -> dict[str, Any]:
    bar = progress.add_task(sweep_id, total=1.0, detail="")
    before: dict[str, Any] | None = None
    while True:
        sweep: dict[str, Any] = client.get_patiently(f"/sweeps/{quoted(sweep_id)}")
        for line in describe_changes(before, sweep):
            say_above(progress, line)
        progress.update(bar, completed=_fraction(sweep), detail=_describe_work(sweep))
        if sweep["status"] != "running":
            return sweep
        before = sweep
        time.sleep(POLL_SECONDS)


def _fraction(sweep: dict[str, Any]) -> float:
    """Of the epochs that are trained until the end, as far as is decided."""
    if sweep["status"] != "running":
        return 1.0
    stage = min(sweep["cut"], sweep["cuts"])
    done = whole = longest = 0
    for one in sweep["candidates"]:
        is_in = one["standing"] == "racing"
        done += one["epoch"]
        whole += max(one["epoch"], one["rungs"][stage] if is_in else 0)
        longest = max(longest, one["epochs"])
    return min(1.0, float(done / max(1, whole + longest // 2)))


def _describe_work(sweep: dict[str, Any]) -> str:
    busy = [one for one in sweep["candidates"] if one["job_status"] == "running"]
    racing = sum(one["standing"] == "racing" for one in sweep["candidates"])
    at_work = ", ".join(f"{name_candidate(one)} {one['epoch']}/{one['epochs']}" for one in busy[:2])
    return f"{racing} of {len(sweep['candidates'])} in the race  {at_work or 'waiting'}"


def _finish(client: Client, sweep: dict[str, Any], *, as_json: bool) -> None:
    """Prints a sweep's end; the command fails unless a model passed its gate."""
    job = None
    if sweep["status"] == "succeeded":
        job = client.get(f"/jobs/{quoted(sweep['winner'])}")
    if as_json:
        say_json(sweep)
    else:
        show_sweep(sweep) if job is None else show_candidates(sweep)
        if job is not None:
            say()
            show_end(client, job)
            note(f"Use it: loupe predict {job['product']} IMAGE…")
    if job is None or not (job["gate"] or {}).get("passed"):
        raise typer.Exit(1)
