from __future__ import annotations

import json
from typing import Any

from app.cli.networks import find_good
from app.networks.registry import list_networks
from tests.cli.conftest import Run, Server, as_json
from tests.ports import free_port

NETWORK: dict[str, Any] = {
    "name": "resnet18", "image_size": 224, "min_image_size": 32, "parameters": 11_689_512,
    "macs": 1_814_000_000, "bytes": 46_796_448, "aliases": [],
    "paper": "Deep Residual Learning", "family": "resnet",
    "weights": {"source": "torchvision", "licence": "BSD-3-Clause", "top1": 69.8, "is_here": True},
    "speed": {"training_ms": 200.4, "serving_ms": 31.25, "machine": "a small box"},
}  # fmt: skip


def test_networks_are_shown_with_their_cost_and_their_weights(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json([NETWORK, {**NETWORK, "name": "own", "weights": None, "speed": None}])

    ended = loupe("networks", "--server", server.url)

    assert ended.status == 0
    _, known, unknown = ended.out.splitlines()
    expected = "resnet18 ★ 224 32 11.7 1,814 46.8 69.8 ✓ BSD-3-Clause 200 31.2"
    assert known.split() == expected.split()
    assert unknown.split() == ["own", "224", "32", "11.7", "1,814", "46.8"]
    assert "a small box" in ended.err


def test_without_a_service_the_installed_networks_are_told(loupe: Run) -> None:
    server = f"http://127.0.0.1:{free_port()}"

    ended = loupe("networks", "--json", "--server", server)

    assert ended.status == 0
    assert [network["name"] for network in json.loads(ended.out)] == [spec.name for spec in list_networks()]
    assert f"No Loupe answers at {server}" in ended.err


def test_networks_are_filtered_and_what_is_good_here_is_marked(loupe: Run, server: Server) -> None:
    def network(
        name: str, ms: float, top1: float, *, is_here: bool = True, family: str = "f"
    ) -> dict[str, Any]:
        weights = {**NETWORK["weights"], "top1": top1, "is_here": is_here}
        return {
            **NETWORK, "name": name, "family": family, "weights": weights,
            "speed": {**NETWORK["speed"], "serving_ms": ms},
        }  # fmt: skip

    known = [
        network("fast", 2.0, 60.0),
        network("elsewhere", 1.0, 90.0, is_here=False, family="g"),
        network("worse", 5.0, 59.0),
        network("best", 40.0, 80.0),
    ]
    server.answer = lambda _: as_json(known)

    def names(*options: str) -> list[str]:
        ended = loupe("networks", *options, "--json", "--server", server.url)
        return [one["name"] for one in ended.json]

    assert find_good(known) == {"fast", "best"}
    assert names("--max-ms", "5") == ["fast", "elsewhere", "worse"]
    assert names("--with-weights") == ["fast", "worse", "best"]
    assert names("--family", "g") == ["elsewhere"]
    shown = [line.split()[0] for line in loupe("networks", "--server", server.url).out.splitlines()[1:]]
    assert shown == ["fast", "worse", "best", "elsewhere"], "a family stands together"
    assert "Families: f, g." in loupe("networks", "--family", "h", "--server", server.url).err
