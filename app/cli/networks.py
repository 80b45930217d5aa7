"""``loupe network``"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import typer

from app.cli.client import Client, UnreachableError
from app.cli.console import add_row, make_table, note, say_json, show
from app.cli.options import DEFAULT_SERVER, AsJson, Server, examples
from app.cli.weights import weights_folder

app = typer.Typer(
    no_args_is_help=True,
    help="Networks: what can be trained. Without a running Loupe, those of this installation.",
)

networks_epilog = examples(
    "loupe networks --with-weights", "loupe networks --max-ms 10", "loupe networks --family resnet"
)


@app.command("list", epilog=networks_epilog)
def list_networks(
    family: Annotated[
        str | None, typer.Option("--family", help="Only networks of this family, such as resnet.")
    ] = None,
    max_ms: Annotated[
        float | None,
        typer.Option("--max-ms", min=0, help="Only networks that answer in so many milliseconds an image."),
    ] = None,
    with_weights: Annotated[
        bool, typer.Option("--with-weights", help="Only networks whose ImageNet weights are on this machine.")
    ] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List the networks that can be trained, by family, with their cost and their published weights.

    In millions: parameters, and the multiply-accumulates (MACs) for one image. MB is the size of the
    weights in float32, top-1 their published accuracy on ImageNet, ms the time for one image.
    A network with a star is a good first choice here: its weights are on this machine, and no other such
    network is both faster and better on ImageNet. Papers and aliases are in docs/networks.md, and in --json.
    """
    everything = _fetch(server)
    networks = [
        network
        for network in everything
        if (family is None or network["family"] == family)
        and (max_ms is None or (network["speed"] and network["speed"]["serving_ms"] <= max_ms))
        and (not with_weights or _has_weights(network))
    ]
    if as_json:
        say_json(networks)
        return
    if not networks:
        families = sorted({network["family"] for network in everything})
        note(f"No network is so. Families: {', '.join(families)}.")
        return
    _show_networks(networks, find_good(everything))
    note("Weights marked ✓ are on this machine; `loupe weights list` tells where the others are from.")
    note("★ A good first choice: no network whose weights are here is both faster and better on ImageNet.")
    for machine in {network["speed"]["machine"] for network in networks if network["speed"]}:
        note(f"Milliseconds on {machine}. `make bench-networks` measures those of this machine.")


def find_good(networks: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names of those with weights on this machine that no other such network beats in speed and top-1."""
    points = {
        network["name"]: (network["speed"]["serving_ms"], -network["weights"]["top1"])
        for network in networks
        if _has_weights(network) and network["speed"]
    }
    return {
        name
        for name, point in points.items()
        if not any(
            other != point and other[0] <= point[0] and other[1] <= point[1] for other in points.values()
        )
    }


def _show_networks(networks: Sequence[Mapping[str, Any]], good: Collection[str]) -> None:
    table = make_table(
        *("!name", ">pixels", ">least", ">M par.", ">M MACs", ">MB", ">top-1"),
        *("weights", ">train ms", ">serve ms"),
        drops=("least", "pixels", "M par.", "train ms", "M MACs", "weights", "MB"),
    )
    # A family's networks stand together, in the order in which the families come.
    families = list(dict.fromkeys(network["family"] for network in networks))
    for network in sorted(networks, key=lambda one: families.index(one["family"])):
        weights, speed = network["weights"], network["speed"]
        add_row(
            table,
            f"{network['name']}{' ★' if network['name'] in good else ''}",
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


def _has_weights(network: Mapping[str, Any]) -> bool:
    return bool(network["weights"] and network["weights"]["is_here"])


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
