"""The command's tree, and the one place where its errors end."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app import __version__
from app.cli import (
    aliases,
    audit,
    compare,
    datasets,
    demo,
    doctor,
    evaluations,
    jobs,
    keys,
    leaderboard,
    models,
    networks,
    predict,
    products,
    service,
    storage,
    sweeps,
    tensorboard,
    train,
    watch,
    webhooks,
    weights,
    workers,
)
from app.cli.client import CommandError
from app.cli.console import out, say_error
from app.cli.grammar import ON_THIS_MACHINE, WITH_A_SERVER, CommandTree
from app.cli.options import examples
from app.cli.streams import flush_streams, prepare_streams, silence_streams
from app.errors import LoupeError

GETTING_STARTED = """[bold]Getting started[/bold]

[cyan]loupe demo[/cyan] shows all of it on handwritten digits. For images of your own, one folder per class:

[cyan]loupe up[/cyan] and then, in another terminal:

[cyan]loupe product create screws[/cyan]

[cyan]loupe dataset import screws ~/images/screws[/cyan]

[cyan]loupe train screws --follow[/cyan]

[cyan]loupe predict screws image.jpg[/cyan]"""

app = typer.Typer(
    name="loupe",
    cls=CommandTree,
    help="Train, prove and serve image classifiers, one per product, on your own machines.\n\n"
    "A group may be called by its plural: `loupe jobs` is `loupe job list`.",
    epilog=GETTING_STARTED,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("demo", rich_help_panel=ON_THIS_MACHINE, epilog=demo.demo_epilog)(demo.demo)
app.command(
    "up",
    rich_help_panel=ON_THIS_MACHINE,
    epilog=examples("loupe up", "loupe up --port 9000 --home /data/loupe"),
)(service.up)
app.command("api", rich_help_panel=ON_THIS_MACHINE)(service.api)
app.command("worker", rich_help_panel=ON_THIS_MACHINE)(service.worker)
app.command("migrate", rich_help_panel=ON_THIS_MACHINE)(service.migrate)
app.command("doctor", rich_help_panel=ON_THIS_MACHINE, epilog=doctor.doctor_epilog)(doctor.doctor)
app.add_typer(weights.app, name="weights", rich_help_panel=ON_THIS_MACHINE)
app.add_typer(storage.app, name="storage", rich_help_panel=ON_THIS_MACHINE)
app.command("train", rich_help_panel=WITH_A_SERVER, epilog=train.train_epilog)(train.train)
app.add_typer(sweeps.app, name="sweep", rich_help_panel=WITH_A_SERVER)
app.command("evaluate", rich_help_panel=WITH_A_SERVER, epilog=evaluations.evaluate_epilog)(
    evaluations.evaluate
)
app.command("predict", rich_help_panel=WITH_A_SERVER, epilog=predict.predict_epilog)(predict.predict)
app.command("watch", rich_help_panel=WITH_A_SERVER, epilog=watch.watch_epilog)(watch.watch)
app.command("promote", rich_help_panel=WITH_A_SERVER, epilog=aliases.promote_epilog)(aliases.promote)
app.command("leaderboard", rich_help_panel=WITH_A_SERVER, epilog=leaderboard.epilog)(
    leaderboard.show_leaderboard
)
app.command("compare", rich_help_panel=WITH_A_SERVER, epilog=compare.epilog)(compare.compare)
app.command("tensorboard", rich_help_panel=WITH_A_SERVER, epilog=tensorboard.tensorboard_epilog)(
    tensorboard.show_tensorboard
)
app.command("rollback", rich_help_panel=WITH_A_SERVER, epilog=aliases.rollback_epilog)(aliases.roll_back)
app.add_typer(products.app, name="product", rich_help_panel=WITH_A_SERVER)
app.add_typer(datasets.app, name="dataset", rich_help_panel=WITH_A_SERVER)
app.add_typer(jobs.app, name="job", rich_help_panel=WITH_A_SERVER)
app.add_typer(models.app, name="model", rich_help_panel=WITH_A_SERVER)
app.add_typer(aliases.app, name="alias", rich_help_panel=WITH_A_SERVER)
app.add_typer(networks.app, name="network", rich_help_panel=WITH_A_SERVER)
app.add_typer(keys.app, name="key", rich_help_panel=WITH_A_SERVER)
app.add_typer(webhooks.app, name="webhook", rich_help_panel=WITH_A_SERVER)
app.command("audit", rich_help_panel=WITH_A_SERVER, epilog=audit.audit_epilog)(audit.audit)
app.add_typer(workers.app, name="workers", rich_help_panel=WITH_A_SERVER)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"loupe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command; an expected error is printed with its hint, and the status is 1."""
    prepare_streams()
    try:
        try:
            app(prog_name="loupe")
        finally:
            flush_streams()
    except BrokenPipeError:
        silence_streams()
    except LoupeError as error:
        say_error(error)
    except ModuleNotFoundError as error:
        say_error(_missing(error))
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        say_error(CommandError(what))
        silence_streams()
    sys.exit(1)


def _missing(error: ModuleNotFoundError) -> CommandError:
    """Raises it again where it is no part of an extra: then something of our own is broken."""
    name = (error.name or "").partition(".")[0]
    if name in ("", "app", "loupe"):
        raise error
    return CommandError(
        f"This command needs more than the client: {name} is not installed.",
        hint="pip install 'loupe-classifier[server]' brings the server, [train] the trainings too, "
        "[gpu] those on GPUs.",
    )
