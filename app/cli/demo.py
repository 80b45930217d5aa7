"""``loupe demo``: the whole loop on handwritten digits, through the HTTP API alone."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from app.cli.client import Client, ServerError
from app.cli.commands import command_name
from app.cli.console import count_progress, note, say, show
from app.cli.dataset_uploads import finish_import, send_dataset
from app.cli.demo_service import DemoService, running_service, stay
from app.cli.digits import draw_picture, write_digits
from app.cli.follow import watch_job
from app.cli.job_end import require_success, show_end
from app.cli.options import DEFAULT_SERVER, examples, local_address, local_server
from app.cli.predict import predict_files
from app.cli.reports import show_classes, show_confusions, summarise_import

PRODUCT, PRODUCT_NAME = "digits", "Handwritten digits (demo)"
NETWORK = "tiny_cnn"
EPOCHS = 15
# Mirrored digits are no digits. On so few images many epochs tie in accuracy; the loss tells them apart.
SETTINGS = {"learning_rate": 0.003, "horizontal_flip": False, "monitor": "valid_loss", "seed": 1}
DRAWN = 4

demo_epilog = examples("loupe demo", "loupe demo --exit", "loupe demo --server http://127.0.0.1:8000")


def demo(
    leave: Annotated[
        bool, typer.Option("--exit", help="End the service at the end, instead of on Ctrl-C.")
    ] = False,
    home: Annotated[
        Path, typer.Option("--home", metavar="DIR", help="Folder for everything that is kept.")
    ] = Path(".loupe/demo"),
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65535,
            help="Port; a free one where it is taken. Not given: LOUPE_PORT, or 8000.",
        ),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the train split.")] = EPOCHS,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="Use this Loupe, and start none.")
    ] = None,
) -> None:
    """Train on 1,797 handwritten digits and predict some that were held out, in about a minute.

    Starts Loupe in a folder of its own, does everything through the HTTP API, and leaves Loupe running.
    """
    try:
        with _service(server, home.resolve(), port or local_address().port) as service:
            made = _walk(Client(service.url), home.resolve() / "digits", epochs)
            _say_where_next(service, home, made, is_left=leave)
            if leave or service.process is None:
                return
            say("Loupe goes on running; Ctrl-C ends it.", style="bold")
            stay(service)
    except KeyboardInterrupt:
        note(f"Ended early. What was done is kept in {home}; `loupe demo` starts from there.", style=None)
        raise typer.Exit(130) from None


@contextmanager
def _service(server: str | None, home: Path, port: int) -> Iterator[DemoService]:
    if server is not None:
        yield DemoService(server)
        return
    with running_service(home, port) as service:
        yield service


@dataclass(frozen=True)
class Made:
    """What the demo leaves: ids, and an image that the model never saw."""

    product: str
    dataset: str
    job: str
    picture: Path


def _walk(client: Client, folder: Path, epochs: int) -> Made:
    _heading(1, "Images: scikit-learn's handwritten digits, as PNG files in a folder per class")
    digits = write_digits(folder)
    held_out = sorted(digits.held_out.glob("*/*.png"))
    say(f"{digits.uploaded}")
    say(f"{digits.held_out}: {len(held_out)} images that Loupe does not see before the end")

    _heading(2, "A product and its dataset")
    product = _make_product(client)
    dataset = finish_import(client, send_dataset(client, f"/products/{product}/datasets", digits.uploaded))
    summarise_import(dataset, client.get(f"/datasets/{dataset['id']}/report"))

    _heading(3, f"A training of {NETWORK}, {epochs} epochs")
    body = {
        "product": product,
        "dataset": dataset["id"],
        "network": NETWORK,
        "hyperparameters": {**SETTINGS, "epochs": epochs},
        "metadata": {"from": "loupe demo"},
    }
    job = watch_job(client, client.post("/jobs", body)["id"], label="training")
    require_success(job)

    _heading(4, "What it is worth, on the test split that the training never saw")
    show_end(client, job)
    evaluation = client.get(f"/jobs/{job['id']}/evaluation")
    say()
    show_classes(evaluation["classes"])
    say()
    show_confusions(evaluation["confusion_matrix"])

    _heading(5, f"Predictions for the {len(held_out)} images held out")
    with count_progress() as progress:
        asked = {"product": product, "job": job["id"], "top_k": "3"}
        answers = list(predict_files(client, held_out, asked, progress))
    _show_answers(held_out, answers)
    return Made(product, dataset["id"], job["id"], held_out[0])


def _make_product(client: Client) -> str:
    """The demo's product: the one of an earlier run, or a new one under the first name that is free."""
    number = 1
    while True:
        name = PRODUCT if number == 1 else f"{PRODUCT}-{number}"
        try:
            found = client.get(f"/products/{name}")
        except ServerError as error:
            if error.problem["status"] != 404:
                raise
            client.post("/products", {"id": name, "name": PRODUCT_NAME, "default_network": NETWORK})
            say(f"product {name}")
            return name
        if found["name"] == PRODUCT_NAME:
            say(f"product {name}, from an earlier run")
            return name
        number += 1


def _show_answers(pictures: Sequence[Path], answers: Sequence[dict[str, Any]]) -> None:
    right = [
        answer["top"]["label"] == path.parent.name for path, answer in zip(pictures, answers, strict=True)
    ]
    # One image of every few classes, and the mistakes: those teach most.
    mistakes = [index for index, is_right in enumerate(right) if not is_right]
    spread = range(0, len(pictures), max(1, len(pictures) // DRAWN))
    shown = [*mistakes[:2], *(index for index in spread if index not in mistakes[:2])][:DRAWN]
    grid = Table.grid(padding=(0, 3))
    drawings = [draw_picture(pictures[index]) for index in shown]
    for _ in shown:
        grid.add_column(no_wrap=True)
    for lines in zip(*drawings, strict=True):
        grid.add_row(*lines)
    grid.add_row(*(Text(f"true {pictures[index].parent.name}", style="dim") for index in shown))
    grid.add_row(*(_answer(answers[index], right[index]) for index in shown))
    say()
    show(grid)
    say()
    say(f"{sum(right)} of {len(right)} right: accuracy {sum(right) / len(right):.4f}", style="bold")
    rejected = [answer["decision"] == "reject" for answer in answers]
    caught = sum(not is_right for is_right, is_rejected in zip(right, rejected, strict=True) if is_rejected)
    say(
        f"{sum(rejected)} answers were rejected as not sure enough, {caught} of the {len(mistakes)} wrong "
        "ones among them"
    )


def _answer(answer: dict[str, Any], is_right: bool) -> Text:
    top = answer["top"]
    mark = " (rejected)" if answer["decision"] == "reject" else ""
    said = f"says {top['label']}, {top['probability']:.1%}{mark}"
    return Text(said, style="green" if is_right else "red")


def _say_where_next(service: DemoService, home: Path, made: Made, *, is_left: bool) -> None:
    """Commands that work as they are printed, in this folder."""
    server, job = service.url, made.job
    loupe, option = command_name(), "" if _is_default(server) else f" --server {server}"
    picture = _shown(made.picture)
    ends = is_left and service.process is not None
    _heading(6, f"Where to look next, from {Path.cwd()}")
    if ends:
        say("This Loupe ends now. What it made is kept; first start it again, in another terminal:")
        port = "" if _is_default(server) else f" --port {server.rpartition(':')[2]}"
        say(f"  {loupe} up --home {shlex.quote(str(home))}{port}")
    say("In a browser:")
    say(f"  {server}/ui/products/{made.product}      its standing, and a place to drop a picture")
    say(f"  {server}/ui/jobs/{job}      the training")
    say(f"  {server}/docs      the HTTP API")
    if service.process is not None and not ends:
        say("In another terminal:")
    for line in (
        f"{loupe} job show {job}{option}",
        f"{loupe} job metrics {job} --csv{option}",
        f"{loupe} evaluate {job}{option}",
        f"{loupe} dataset examine {made.dataset}{option}      # which labels look wrong?",
        f"{loupe} predict {made.product} {shlex.quote(_shown(made.picture.parent.parent))} --csv{option}",
        f"curl -F file=@{shlex.quote(picture)} '{server}/predict?product={made.product}'",
        f"curl {server}/jobs/{job}/metrics",
    ):
        say(f"  {line}")
    say("Your own images, one folder for each class:")
    for line in (
        f"{loupe} product create screws{option}",
        f"{loupe} dataset import screws ~/images/screws{option}",
        f"{loupe} train screws --follow{option}",
    ):
        say(f"  {line}")
    if service.process is not None:
        say(
            f"They would lie in {home}, with the demo's. To keep them in ~/.loupe, end the demo and start "
            f"`{loupe} up` first."
        )


def _is_default(server: str) -> bool:
    """Whether commands find ``server`` without being told, also in a terminal with nothing set."""
    return server == DEFAULT_SERVER == local_server() and not os.environ.get("LOUPE_SERVER")


def _shown(path: Path) -> str:
    """As short as it can be typed in this folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _heading(number: int, text: str) -> None:
    say()
    say(f"{number}. {text}", style="bold cyan")
