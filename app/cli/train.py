"""``loupe train``"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from app.cli.assignments import parse_assignments, parse_value
from app.cli.beginnings import note_dataset, note_start, note_warnings
from app.cli.class_maps import Drop, Keep, Merge, read_class_map
from app.cli.client import Client, CommandError
from app.cli.console import format_setting, note, say, say_json, show_fields
from app.cli.follow import follow_job
from app.cli.forecast import show_forecast
from app.cli.job_end import finish_job
from app.cli.jobs import describe_class_map, describe_device, describe_gate
from app.cli.options import DEFAULT_SERVER, AsJson, Server, examples


def train(
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of the product.")],
    method: Annotated[
        Literal["fine_tune", "linear"] | None,
        typer.Option(
            "--method",
            help="linear: only the classifier learns, in seconds, on what given weights say of each image.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option("--network", help="A network of `loupe networks`; the product's default if not given."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Id of a dataset; if not given, the newest that can be trained on."),
    ] = None,
    evaluation_dataset: Annotated[
        str | None,
        typer.Option(
            "--evaluation-dataset",
            help="Id of a dataset to test on, all of it, instead of the test split.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the train split.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Images in one step.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak learning rate.")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option("--image-size", metavar="N|HxW", help="Input size in pixels.")
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option("--min-accuracy", help="Test accuracy under which the model fails its gate."),
    ] = None,
    on_failure: Annotated[
        Literal["keep", "discard"] | None,
        typer.Option("--on-failure", help="Whether a model that fails its gate is kept; it is by default."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of weights, order, augmentation, split.")
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "gpu"] | None,
        typer.Option("--device", help="What to train on; auto takes a GPU where the worker has one."),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option("--gpus", min=1, help="GPUs of one machine to divide each batch among.")
    ] = None,
    keep: Keep = None,
    drop: Drop = None,
    merge: Merge = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be given often."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch the training to its end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show every setting and start nothing.")] = False,
    forecast: Annotated[
        bool,
        typer.Option(
            "--forecast",
            help="Show what it would take and bring: time, memory, disk, accuracy; start nothing.",
        ),
    ] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Train a network on a product's images.

    Settings that are not given have defaults; --dry-run shows them all.
    With --follow, Ctrl-C leaves the training running, and the status is 1 unless a model passed its gate.
    """
    hyperparameters, split = parse_assignments(settings or [])
    flags = {
        "method": method,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "image_size": None if image_size is None else parse_value(image_size),
        "seed": seed,
    }
    hyperparameters |= {name: value for name, value in flags.items() if value is not None}
    body: dict[str, Any] = {"product": product, "hyperparameters": hyperparameters}
    if split:
        body["split"] = split
    rules = {"min_accuracy": min_accuracy, "on_failure": on_failure}
    if gate := {name: value for name, value in rules.items() if value is not None}:
        body["gate"] = gate
    if class_map := read_class_map(keep, drop, merge):
        body["class_map"] = class_map
    if network is not None:
        body["network"] = network
    if dataset is not None:
        body["dataset"] = dataset
    if evaluation_dataset is not None:
        body["evaluation_dataset"] = evaluation_dataset
    if device is not None:
        body["device"] = device
    if gpus is not None:
        body["gpus"] = gpus
    client = Client(server)
    starts_nothing = dry_run or forecast
    answer = client.post("/jobs", body, dry_run=starts_nothing or None)
    if starts_nothing:
        if not as_json:
            note_dataset(client, answer["dataset"]["id"], is_chosen=dataset is None)
        _show_plan(answer, as_json=as_json, dry_run=dry_run, forecast=forecast)
        return
    if not follow:
        if as_json:
            say_json(answer)
            return
        say(answer["id"])
        note_dataset(client, answer["dataset"]["id"], is_chosen=dataset is None)
        note_start(client, answer)
        note(f"Watch it: loupe job follow {answer['id']}")
        return
    note(f"{answer['id']}: a training of {answer['network']}")
    note_dataset(client, answer["dataset"]["id"], is_chosen=dataset is None)
    finish_job(client, follow_job(client, answer["id"]), as_json=as_json)


train_epilog = examples(
    "loupe train screws --network mobilenet_v2 --image-size 96 --epochs 20 --follow",
    "loupe train screws --method linear --follow",
    "loupe train screws --forecast",
    "loupe train screws --set augmentation=strong --set early_stopping.patience=5",
    "loupe train screws --min-accuracy 0.95 --on-failure discard",
    "loupe train screws --drop unclear --merge scratch=deep,fine",
    "loupe train screws --evaluation-dataset dst_… --set split.test=0",
    "loupe train screws --device gpu --gpus 2 --batch-size 64",
    "loupe train screws --set split.train=0.8 --set split.valid=0.1 --set split.test=0.1 --dry-run",
)


def _show_plan(plan: dict[str, Any], *, as_json: bool, dry_run: bool, forecast: bool) -> None:
    if as_json:
        say_json(plan)
        return
    if forecast and not plan.get("forecast"):
        raise CommandError("This server makes no forecasts.", hint="Use a newer Loupe there.")
    if dry_run:
        _show_settings(plan)
    if dry_run and forecast:
        say()
    if forecast:
        show_forecast(plan["forecast"])
    note_warnings(plan.get("warnings") or [])
    note("Nothing was started.")


def _show_settings(plan: dict[str, Any]) -> None:
    counts = plan["split"]["counts"] or {}
    show_fields(
        {
            "product": plan["product"],
            "dataset": plan["dataset"]["id"],
            "tested on": (plan.get("evaluation_dataset") or {}).get("id"),
            "network": plan["network"],
            "split": ", ".join(f"{name} {count:,}" for name, count in counts.items())
            or "once the dataset is imported",
            "classes": describe_class_map(plan.get("class_map")),
            "device": describe_device(plan),
            "gate": describe_gate(plan["gate_rules"]),
        }
    )
    say()
    show_fields({name: format_setting(value) for name, value in plan["hyperparameters"].items()})
