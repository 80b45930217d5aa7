"""``loupe tensorboard``: the curves of trainings in TensorBoard, also while they are made."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from app.cli.client import Client, CommandError
from app.cli.console import note, say
from app.cli.event_files import JobEvents
from app.cli.options import DEFAULT_SERVER, Server, examples

POLL_SECONDS = 2.0
END_SECONDS = 5
TENSORBOARD_SECONDS = 5
"""After which TensorBoard looks for new events."""

tensorboard_epilog = examples(
    "loupe tensorboard job_… job_…",
    "loupe tensorboard --product screws",
    "loupe tensorboard --product screws --to ~/runs",
)


def show_tensorboard(
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="JOB...", help="Ids of trainings, job_…")
    ] = None,
    product: Annotated[
        str | None, typer.Option("--product", help="The newest trainings of this product.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most trainings of the product.")] = 20,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="DIR",
            help="Write the event files there and start no TensorBoard: one that runs finds them.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Port of TensorBoard; not given: 6006 or the next."),
    ] = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Show the curves of trainings in TensorBoard, on this machine.

    The event files are made of what the server knows of each job, so every training can be shown: old ones,
    those of other machines, and those that run, which are followed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise CommandError(
            "TensorBoard is not installed here.", hint="pip install 'loupe-classifier[tensorboard]'"
        )
    client = Client(server)
    wanted = [*(jobs or []), *(_newest(client, product, limit) if product else [])]
    if not wanted:
        raise CommandError(
            f"{product} has no training yet." if product else "No training is named.",
            hint="Give ids of jobs, or a --product; `loupe job list` shows them.",
        )
    try:
        if to is not None:
            _write(client, wanted, to)
            return
        with TemporaryDirectory(prefix="loupe-tensorboard-") as folder:
            _show(client, wanted, Path(folder), port)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _newest(client: Client, product: str, limit: int) -> list[str]:
    page = client.list_rows("/jobs", limit, product=product, kind="training")
    return [job["id"] for job in page["data"]]


def _begin(client: Client, wanted: list[str], folder: Path) -> list[JobEvents]:
    followed = [JobEvents(client, job, folder) for job in dict.fromkeys(wanted)]
    for job in followed:
        job.refresh()
    return followed


def _write(client: Client, wanted: list[str], folder: Path) -> None:
    """Until all of them have ended."""
    followed = _begin(client, wanted, folder)
    if not all(job.has_ended for job in followed):
        note("Not all have ended: their events are followed. Ctrl-C leaves the files as they are.")
    while not all(job.has_ended for job in followed):
        time.sleep(POLL_SECONDS)
        _refresh(followed)
    for job in followed:
        say(f"{folder / job.name}: {job.points:,} steps" if job.points else f"{job.name} has no steps.")


def _show(client: Client, wanted: list[str], folder: Path, port: int | None) -> None:
    """Until TensorBoard ends, most often by Ctrl-C, which reaches it too."""
    followed = _begin(client, wanted, folder)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1"]
    command += ["--reload_interval", str(TENSORBOARD_SECONDS), *(["--port", str(port)] if port else [])]
    with subprocess.Popen(command) as process:
        try:
            while (status := process.poll()) is None:
                time.sleep(POLL_SECONDS)
                _refresh(followed)
        finally:
            _end(process)
    if status != 0:
        raise CommandError(f"TensorBoard ended with status {status}.", hint="Its output above says why.")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _refresh(followed: list[JobEvents]) -> None:
    for job in followed:
        if not job.has_ended:
            job.refresh()
