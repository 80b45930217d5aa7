"""Models of a product on the images that they share."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from app.models import Evaluation
from tests.conftest import Trained
from tests.services.rows import add_product, train


class Board:
    """A product whose models answered as a test says."""

    def __init__(self, client: TestClient, context: AppContext, folder: Path) -> None:
        self.client, self.context, self.folder = client, context, folder
        self.product, self.dataset = add_product(context)

    def add(self, right: Iterable[bool], first: int = 0) -> str:
        """A model that was tested on images numbered from ``first``, answered rightly or not."""
        job = train(self.context, self.folder, product_id=self.product, dataset_id=self.dataset)
        with self.context.db.read() as session:
            folder = session.query(Evaluation).filter_by(job_id=job.id).one().folder
        path = self.context.storage.absolute(folder) / "predictions.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["item", "name", "label", "predicted", "a", "b"])
            for number, is_right in enumerate(right, start=first):
                writer.writerow(
                    [f"img_{number:04d}", f"a, {number}.png", "a", "a" if is_right else "b", 1, 0]
                )
        return str(self.client.get(f"/jobs/{job.id}").json()["model"])

    def get(self, query: str = "") -> Any:
        answer = self.client.get(f"/products/{self.product}/leaderboard{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def board(client: TestClient, context: AppContext, tmp_path: Path) -> Board:
    return Board(client, context, tmp_path / "left")


def test_models_are_ranked_on_the_images_that_they_share(board: Board) -> None:
    weak = board.add([n >= 30 for n in range(100)])
    strong = board.add([n >= 5 for n in range(100)])
    elsewhere = board.add([True] * 50, first=500)
    champion = board.client.get(f"/products/{board.product}").json()["champion"]
    board.client.put(f"/products/{board.product}/aliases/champion", json={"model": weak}).raise_for_status()
    assert champion == elsewhere
    found = board.get()
    assert [(row["model"], row["place"]) for row in found["models"]] == [
        (strong, 1),
        (weak, 2),
        (elsewhere, None),
    ]
    best, champion_row, apart = found["models"]
    assert (found["common_images"], best["common"]["value"], champion_row["common"]["value"]) == (
        100,
        0.95,
        0.7,
    )
    against = best["against_champion"]
    assert (against["only_this_right"], against["only_other_right"], against["both_right"]) == (25, 0, 70)
    assert against["verdict"] == "better"
    assert against["p_value"] == pytest.approx(2 * 0.5**25)
    assert champion_row["against_champion"] is None
    assert (apart["common"], apart["against_champion"]) == (None, None)
    [pair] = found["pairs"]
    assert {pair["first"], pair["second"]} == {strong, weak}


def test_a_difference_that_may_be_chance_is_called_none(board: Board) -> None:
    board.add([n % 10 != 0 for n in range(100)])
    board.add([n % 10 != 1 for n in range(100)])
    other = board.get()["models"]
    verdicts = {row["against_champion"]["verdict"] for row in other if row["against_champion"]}
    assert verdicts == {"no_difference_shown"}


def test_few_answers_that_differ_show_nothing(board: Board) -> None:
    board.add([True] * 20)
    board.add([n >= 3 for n in range(20)])
    [row] = [row for row in board.get()["models"] if row["against_champion"]]
    assert row["against_champion"]["verdict"] == "too_few_images"


def test_only_the_models_of_the_trainings_that_are_named_are_compared(board: Board) -> None:
    models = [board.add([n >= few for n in range(20)]) for few in (0, 8, 9)]
    jobs = [board.client.get(f"/models/{model}").json()["job"] for model in models]
    found = board.get(f"?job={jobs[0]}&job={jobs[1]}&job=job_of_another&limit=2")
    assert {row["model"] for row in found["models"]} == set(models[:2])
    assert [{pair["first"], pair["second"]} for pair in found["pairs"]] == [set(models[:2])]


def test_a_product_without_models_has_an_empty_board(board: Board) -> None:
    found = board.get()
    assert (found["models"], found["pairs"], found["champion"], found["common_images"]) == ([], [], None, 0)
    assert board.client.get("/products/nothing/leaderboard").status_code == 404


def test_a_real_model_is_compared_by_its_own_table(trained: Trained) -> None:
    found = trained.client.get("/products/squares/leaderboard").json()
    [row] = [row for row in found["models"] if row["job"] == trained.job]
    assert row["common"]["value"] == pytest.approx(row["accuracy"]["value"])
    assert row["items"] == found["common_images"]
