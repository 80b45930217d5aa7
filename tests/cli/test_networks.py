from __future__ import annotations

import json

from app.networks.registry import list_networks
from tests.cli.conftest import Run, Server, as_json
from tests.ports import free_port

NETWORK = {
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
    expected = ["resnet18", "224", "32", "11.7", "1,814", "46.8", "69.8", "✓", "BSD-3-Clause", "200", "31.2"]
    assert known.split() == expected
    assert unknown.split() == ["own", "224", "32", "11.7", "1,814", "46.8"]
    assert "a small box" in ended.err


def test_without_a_service_the_installed_networks_are_told(loupe: Run) -> None:
    server = f"http://127.0.0.1:{free_port()}"

    ended = loupe("networks", "--json", "--server", server)

    assert ended.status == 0
    assert [network["name"] for network in json.loads(ended.out)] == [spec.name for spec in list_networks()]
    assert f"No Loupe answers at {server}" in ended.err
