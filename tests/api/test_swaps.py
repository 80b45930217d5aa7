"""A champion that moves under load: every request is answered, and by one model alone"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from tests.clients import local_client
from tests.packaged_models import LABELS
from tests.pictures import make_picture
from tests.services.served_models import MakeArtifact, add_served_model

RED = make_picture("red", 7)
PNG = {"content-type": "image/png"}
SWAPS = 100


@pytest.fixture
def client(context: AppContext) -> Iterator[TestClient]:
    with local_client(context.settings) as client:
        yield client


def test_a_hundred_swaps_under_load_fail_no_request_and_mix_no_models(
    context: AppContext, client: TestClient, make_artifact: MakeArtifact
) -> None:
    """The second model calls red blue, so an answer shows whose labels and whose name it has."""
    first = add_served_model(context, make_artifact, alias="champion")
    second = add_served_model(context, make_artifact, labels=LABELS[::-1])
    called = {first: "red", second: "blue"}
    seen: list[tuple[int, str, str]] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answer = client.post(
                "/predict?product=squares", content=RED, headers={"content-type": "image/png"}
            )
            body = answer.json()
            seen.append((answer.status_code, body["model"]["id"], body["top"]["label"]))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(SWAPS):
            moved = client.put(
                "/products/squares/aliases/champion", json={"model": (second, first)[number % 2]}
            )
            assert moved.status_code == 200
            if number % 10 == 0:  # as if memory had been needed: each way of loading is met
                client.app.state.model_cache.drop(first)  # type: ignore[attr-defined]
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert {status for status, _, _ in seen} == {200}
    assert {(model, label) for _, model, label in seen} == set(called.items())


def test_a_champion_that_is_damaged_on_disk_leaves_the_one_before_answering(
    context: AppContext, client: TestClient, make_artifact: MakeArtifact
) -> None:
    first = add_served_model(context, make_artifact, alias="champion")
    second = add_served_model(context, make_artifact)
    assert client.post("/predict?product=squares", content=RED, headers=PNG).status_code == 200
    file: Path
    [file] = (context.storage.models / second).rglob("model.tflite")
    file.write_bytes(b"")
    client.put("/products/squares/aliases/champion", json={"model": second})
    answer = client.post("/predict?product=squares", content=RED, headers=PNG)
    assert answer.json()["model"]["id"] == first
