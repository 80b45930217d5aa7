"""``loupe watch``"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from app.cli.client import PATIENCE_SECONDS, Client, CommandError, ServerError, quoted
from app.cli.console import note, printable
from app.cli.label_folders import LabelFolders
from app.cli.options import DEFAULT_SERVER, Server, examples
from app.cli.packing import display_name
from app.cli.stop_signals import StopSignals
from app.cli.watch_results import Results, require_form
from app.cli.watched_folder import WatchedFolder
from app.cli.watcher import Counts, Watcher, server_patience
from app.words import count

# A look at a large or distant folder takes long; looking must stay a small part of the time.
PAUSE_FOR_A_LOOK = 4.0
INTERRUPTED = 130

watch_epilog = examples(
    "loupe watch ~/incoming --product screws",
    "loupe watch ~/incoming --product screws --out answers.jsonl --move-to ~/sorted",
    "loupe watch /mnt/line2 --product screws@canary --recursive --settle 10",
    "loupe watch ~/incoming --product screws --once || mail -s 'bad images' me@example.com",
)


def watch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that images come into.")],
    product: Annotated[
        str | None,
        typer.Option(
            "--product",
            metavar="PRODUCT",
            help="Id of the product; its champion answers. `PRODUCT@ALIAS` or `PRODUCT@3`, a version, "
            "is another model.",
        ),
    ] = None,
    job: Annotated[str | None, typer.Option("--job", help="Ask the model of this job instead.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Ask this model instead.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where the rows go: .csv, or .jsonl for JSON lines. Not given: FOLDER.predictions.csv "
            "beside the folder.",
        ),
    ] = None,
    move_to: Annotated[
        Path | None,
        typer.Option(
            "--move-to",
            metavar="FOLDER",
            help="Move each image into the folder of its label in this one, rejected ones into _rejected. "
            "What has an error stays.",
        ),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", min=1, max=1000, help="How many labels a row has, the best first.")
    ] = 1,
    recursive: Annotated[bool, typer.Option("--recursive", help="Watch the folders in it too.")] = False,
    once: Annotated[
        bool,
        typer.Option("--once", help="Predict what is there, then end; the status is 1 if anything failed."),
    ] = False,
    settle: Annotated[
        float,
        typer.Option(
            "--settle",
            min=0,
            max=3600,
            metavar="SECONDS",
            help="A file is whole once its size and time of change have stayed the same for so long.",
        ),
    ] = 2.0,
    every: Annotated[
        float,
        typer.Option("--every", min=0.1, max=3600, metavar="SECONDS", help="Look so often at the folder."),
    ] = 1.0,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Predict each image that comes into a folder, and write a row for it.

    The file of rows is the record: what has a row is not predicted again, also after a kill.
    A file is a new image when its name, its size or its time of change is new.

    A server that is away is waited for. A damaged image is a row with its error. Ctrl-C ends it.
    """
    source = _require_folder(folder)
    path = (out or source.with_name(f"{source.name}.predictions.csv")).resolve()
    require_form(path)
    target = None if move_to is None else _require_outside(move_to.resolve(), source)
    asked = {"product": product, "job": job, "model": model}
    fields = {name: value for name, value in asked.items() if value is not None}
    client, stop = Client(server), StopSignals()
    excluded = frozenset({path} if target is None else {path, target})
    watched = WatchedFolder(source, is_recursive=recursive, settle_seconds=settle, excluded=excluded)
    at_most = PATIENCE_SECONDS if once else None
    try:
        with stop.installed():
            _require_model(client, fields, at_most)
            with closing(Results(path, top_k)) as results:
                if results.is_repaired:
                    note(f"The last row of {display_name(path)} was cut off; its image is predicted again.")
                watcher = Watcher(
                    client,
                    {**fields, "top_k": str(top_k)},
                    watched,
                    results,
                    LabelFolders(target) if target else None,
                    stop,
                    at_most=at_most,
                )
                try:
                    if once:
                        _go_once(watcher, settle)
                    else:
                        note(f"Watching {display_name(source)}. Rows go to {display_name(path)}.")
                        _go_on(watcher, every)
                finally:
                    _summarise(watcher.counts, watcher.put_off, path)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED if once else 0) from None
    # Only `--once` comes here.
    if watcher.counts.errors or watcher.put_off:
        raise typer.Exit(1)


def _go_on(watcher: Watcher, every: float) -> None:
    while True:
        look = watcher.look()
        watcher.work_off(look.whole)
        time.sleep(max(every, PAUSE_FOR_A_LOOK * look.seconds))


def _go_once(watcher: Watcher, settle: float) -> None:
    watcher.look()
    time.sleep(settle)
    look = watcher.look()
    watcher.work_off(look.whole)
    watcher.counts.unfinished = look.unfinished


def _summarise(counts: Counts, put_off: int, path: Path) -> None:
    parts = [f"{count(counts.rows, 'image', 'images')} predicted"]
    if counts.errors:
        parts.append(f"{counts.errors:,} of them with an error")
    if counts.moved:
        parts.append(f"{counts.moved:,} moved")
    if put_off:
        parts.append(f"{put_off:,} could not be read or moved")
    if counts.unfinished:
        parts.append(f"{counts.unfinished:,} still being written, left for the next run")
    note(f"{', '.join(parts)}. Rows: {display_name(path)}", style=None)


def _require_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise CommandError(f"There is no folder {printable(display_name(folder))}.")
    source = folder.resolve()
    if source == source.parent:
        raise CommandError("The whole file system cannot be watched.", hint="Name a folder of images.")
    return source


def _require_outside(target: Path, source: Path) -> Path:
    if source.is_relative_to(target):
        raise CommandError(
            "--move-to is the watched folder, or holds it: what is moved would come in again.",
            hint="Name another folder. One inside the watched folder is fine: it is not read.",
        )
    if target.exists() and not target.is_dir():
        raise CommandError(f"{printable(display_name(target))} is no folder.")
    return target


def _require_model(client: Client, fields: dict[str, str], at_most: float | None) -> None:
    """Raises CommandError, ServerError if what is to answer is not there."""
    path = _path_of_model(fields)
    try:
        server_patience(client, at_most).insist(lambda: client.get(path))
    except ServerError as error:
        # A key that may only predict cannot look.
        if error.problem.get("status") != 403:
            raise


def _path_of_model(fields: dict[str, str]) -> str:
    if "model" in fields:
        return f"/models/{quoted(fields['model'])}"
    if "job" in fields:
        return f"/jobs/{quoted(fields['job'])}"
    if "product" in fields:
        return f"/products/{quoted(fields['product'].partition('@')[0])}"
    raise CommandError("Which model is to answer?", hint="Name a product: --product screws.")
