"""``loupe network``"""

from __future__ import annotations

from typing import Any

import typer

from app.cli.client import Client, UnreachableError
from app.cli.console import add_row, make_table, note, say_json, show
from app.cli.options import DEFAULT_SERVER, AsJson, Server
from app.cli.weights import weights_folder

app = typer.Typer(
    no_args_is_help=True,
    help="Networks: what can be trained. Without a running Loupe, those of this installation.",
)


@app.command("list")
def list_networks(as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """List the networks that can be trained, with their cost and their published weights.

    In millions: parameters, and the multiply-accumulates (MACs) for one image. MB is the size of the
    weights in float32, top-1 their published accuracy on ImageNet, ms the time for one image.
    Papers and aliases are in docs/networks.md, and in --json.
    """
    networks = _fetch(server)
    if as_json:
        say_json(networks)
        return
    table = make_table(
        "!name",
        ">pixels",
        ">least",
        ">M par.",
        ">M MACs",
        ">MB",
        ">top-1",
        "weights",
        ">train ms",
        ">serve ms",
        drops=("least", "pixels", "M par.", "train ms", "M MACs", "weights", "MB"),
    )
    for network in networks:
        weights, speed = network["weights"], network["speed"]
        add_row(
            table,
            network["name"],
            network["image_size"],
            network["min_image_size"],
            f"{network['parameters'] / 1e6:.1f}",
            f"{network['macs'] / 1e6:,.0f}",
            f"{network['bytes'] / 1e6:.1f}",
            f"{weights['top1']:.1f}" if weights else None,
            _describe_weights(weights),
            f"{speed['training_ms']:.0f}" if speed else None,
            f"{speed['serving_ms']:.1f}" if speed else None,
        )
    show(table)
    note("Weights marked ✓ are on this machine; `loupe weights list` tells where the others are from.")
    for machine in {network["speed"]["machine"] for network in networks if network["speed"]}:
        note(f"Milliseconds on {machine}. `make bench-networks` measures those of this machine.")


def _fetch(server: str) -> list[dict[str, Any]]:
    """The server's, or where none runs those of this installation: to look them up needs no service."""
    try:
        networks: list[dict[str, Any]] = Client(server).get("/networks")
        return networks
    except UnreachableError:
        from app.services.networks import list_networks as list_installed

        note(f"No Loupe answers at {server}; these are the networks of this installation.")
        return [network.model_dump(mode="json") for network in list_installed(weights_folder())]


def _describe_weights(weights: dict[str, Any] | None) -> str | None:
    if weights is None:
        return None
    return f"{'✓ ' if weights['is_here'] else ''}{weights['licence']}"
