"""``/products/{product}/aliases``: moved by hand, removed, with their history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from app.context import AppContext
from app.models import AliasMove, Dataset, Evaluation, TrainedModel
from tests.conftest import Trained
from tests.pictures import make_picture
from tests.services.rows import add_product, train

FAILS = {"gate_rules": {"min_accuracy": 0.8, "on_failure": "keep"}}


@dataclass
class Aliases:
    """The aliases of a product with a champion."""

    client: TestClient
    context: AppContext
    folder: Path
    product: str
    dataset: str
    champion: str = ""

    def model(self, **fields: Any) -> str:
        """One model more; it equals the champion, and takes its place unless it fails its gate."""
        job = train(self.context, self.folder, product_id=self.product, dataset_id=self.dataset, **fields)
        return str(self.client.get(f"/jobs/{job.id}").json()["model"])

    def put(self, name: str, model: str, **more: Any) -> Any:
        return self.client.put(f"/products/{self.product}/aliases/{name}", json={"model": model, **more})

    def history(self, name: str, query: str = "") -> Any:
        return self.client.get(f"/products/{self.product}/aliases/{name}/history{query}").json()

    @property
    def now(self) -> dict[str, str]:
        rows = self.client.get(f"/products/{self.product}/aliases").json()
        return {row["name"]: row["model"] for row in rows}


@pytest.fixture
def aliases(client: TestClient, context: AppContext, tmp_path: Path) -> Aliases:
    made = Aliases(client, context, tmp_path / "left", *add_product(context))
    made.champion = made.model()
    return made


def test_an_alias_is_made_moved_and_removed_and_its_history_tells_all(aliases: Aliases) -> None:
    first, second = aliases.champion, aliases.model()
    made = aliases.put("canary", first, reason="on line 2")
    assert made.status_code == 200
    assert made.json()["model"] == first
    assert aliases.put("canary", second).json()["model"] == second
    assert aliases.now == {"canary": second, "champion": second}

    path = f"/products/{aliases.product}/aliases/canary"
    assert aliases.client.delete(path).status_code == 204
    assert aliases.client.delete(path).status_code == 404
    assert aliases.now == {"champion": second}
    moves = [
        (move["from_model"], move["to_model"], move["reason"]) for move in aliases.history("canary")["data"]
    ]
    assert moves == [(second, None, None), (first, second, None), (None, first, "on line 2")]
    assert {move["moved_by"] for move in aliases.history("canary")["data"]} == {None}


def test_the_history_of_the_champion_names_the_jobs_that_moved_it(aliases: Aliases) -> None:
    second = aliases.model()
    aliases.put("champion", aliases.champion, reason="the new one is slow")
    by_hand, newer, first = aliases.history("champion")["data"]
    assert (by_hand["from_model"], by_hand["to_model"]) == (second, aliases.champion)
    assert (by_hand["moved_by"], by_hand["reason"]) == (None, "the new one is slow")
    for move, model in ((newer, second), (first, aliases.champion)):
        assert move["to_model"] == model
        assert move["moved_by"] == aliases.client.get(f"/models/{model}").json()["job"]
    assert "passed the gate" in first["reason"]
    assert f"the champion {aliases.champion}" in newer["reason"]


def test_the_history_comes_in_pages(aliases: Aliases) -> None:
    second = aliases.model()
    for model in (aliases.champion, second) * 3:
        aliases.put("champion", model)
    whole = aliases.history("champion")["data"]
    assert len(whole) == 8
    first = aliases.history("champion", "?limit=5")
    rest = aliases.history("champion", f"?limit=5&after={first['next_cursor']}")
    assert first["data"] + rest["data"] == whole


def test_to_point_an_alias_where_it_points_already_is_no_move(aliases: Aliases) -> None:
    assert aliases.put("champion", aliases.champion).status_code == 200
    assert len(aliases.history("champion")["data"]) == 1


def test_an_alias_that_an_older_release_moved_has_an_empty_history(aliases: Aliases) -> None:
    with aliases.context.db.write() as session:
        session.execute(delete(AliasMove))
    assert aliases.history("champion") == {"data": [], "has_more": False, "next_cursor": None}
    assert aliases.history("canary")["code"] == "not_found"


def test_a_model_that_failed_its_gate_needs_an_override_which_is_recorded(aliases: Aliases) -> None:
    failed = aliases.model(**FAILS)
    refused = aliases.put("champion", failed)
    assert (refused.status_code, refused.json()["code"]) == (422, "gate_failed")
    assert "Test accuracy 0.5000 is below min_accuracy 0.8000" in refused.json()["detail"]
    assert "override" in refused.json()["hint"]
    assert aliases.now == {"champion": aliases.champion}

    assert aliases.put("champion", failed, override=True, reason="harder images").status_code == 200
    assert aliases.now == {"champion": failed}
    newest, before = aliases.history("champion")["data"]
    assert (newest["is_override"], newest["reason"]) == (True, "harder images")
    assert not before["is_override"]


def test_an_override_that_was_not_needed_is_not_recorded_as_one(aliases: Aliases) -> None:
    aliases.put("canary", aliases.champion, override=True)
    assert not aliases.history("canary")["data"][0]["is_override"]


def test_a_model_of_the_first_release_counts_as_passed(aliases: Aliases) -> None:
    failed = aliases.model(**FAILS)
    with aliases.context.db.write() as session:
        session.get_one(TrainedModel, failed).passed_gate = None
    assert aliases.put("canary", failed).status_code == 200


def test_what_an_alias_cannot_point_at_is_refused(aliases: Aliases, tmp_path: Path) -> None:
    other = train(aliases.context, tmp_path / "other")
    of_another = aliases.client.get(f"/jobs/{other.id}").json()["model"]
    cases = [
        ("champion", "mdl_unknown", 404),
        ("champion", of_another, 422),
        ("Not a slug", aliases.champion, 422),
        ("3", aliases.champion, 422),
    ]
    for name, model, status in cases:
        assert aliases.put(name, model).status_code == status, (name, model)
    nowhere = aliases.client.put("/products/nope/aliases/champion", json={"model": aliases.champion})
    assert nowhere.status_code == 404
    assert aliases.now == {"champion": aliases.champion}


def test_the_champion_is_moved_and_not_removed(aliases: Aliases) -> None:
    answer = aliases.client.delete(f"/products/{aliases.product}/aliases/champion")
    assert answer.status_code == 409
    assert "PUT" in answer.json()["hint"]


def test_a_product_goes_with_the_history_of_its_aliases(aliases: Aliases) -> None:
    assert aliases.client.delete(f"/products/{aliases.product}").status_code == 409
    empty, _ = add_product(aliases.context)
    with aliases.context.db.write() as session:
        session.add(AliasMove(id="mov_1", product_id=empty, name="canary"))
        session.execute(delete(Dataset).where(Dataset.product_id == empty))
    assert aliases.client.delete(f"/products/{empty}").status_code == 204


def test_a_version_is_an_address(trained: Trained) -> None:
    def ask(product: str) -> Any:
        picture = {"file": ("p.png", make_picture("red", 999))}
        return trained.client.post("/predict", files=picture, data={"product": product})

    [*_, first] = trained.client.get("/models?product=squares").json()["data"]
    answer = ask("squares@1").json()["model"]
    assert (answer["id"], answer["version"], answer["alias"]) == (first["id"], 1, None)
    for version in ("99", "0", "01", "１", "99999999999999999999", "canary", "Champion", "1@2", ""):
        missing = ask(f"squares@{version}")
        assert missing.status_code == 404, version
        assert "squares" in missing.json()["hint"]
    assert "Its aliases: champion" in ask("squares@canary").json()["hint"]


def roll_back(aliases: Aliases, **body: Any) -> Any:
    return aliases.client.post(f"/products/{aliases.product}/rollback", json=body)


def test_each_rollback_goes_one_step_back_and_is_in_the_history(aliases: Aliases) -> None:
    first = aliases.champion
    second, third = aliases.model(), aliases.model()
    assert aliases.now["champion"] == third
    back = roll_back(aliases, reason="rejects on line 2")
    assert (back.status_code, back.json()["model"]) == (200, second)
    assert roll_back(aliases).json()["model"] == first
    assert roll_back(aliases).status_code == 409
    newest, before, *_ = aliases.history("champion")["data"]
    assert (newest["is_rollback"], before["is_rollback"], before["reason"]) == (
        True,
        True,
        "rejects on line 2",
    )
    assert not aliases.history("champion")["data"][-1]["is_rollback"]
    # What is promoted after that goes back to what was there then.
    aliases.put("champion", third)
    assert roll_back(aliases).json()["model"] == first


def test_a_rollback_passes_over_a_model_that_is_gone(aliases: Aliases) -> None:
    second, third = aliases.model(), aliases.model()
    with aliases.context.db.write() as session:
        session.execute(delete(Evaluation).where(Evaluation.model_id == second))
        session.execute(delete(TrainedModel).where(TrainedModel.id == second))
    assert aliases.now["champion"] == third
    assert roll_back(aliases).json()["model"] == aliases.champion


def test_there_is_nothing_to_go_back_to_before_the_second_model(aliases: Aliases) -> None:
    refused = roll_back(aliases)
    assert refused.status_code == 409
    assert "PUT /products/" in refused.json()["hint"]
    assert roll_back(aliases, alias="canary").status_code == 404


def test_of_two_who_move_an_alias_at_once_the_second_is_told(aliases: Aliases) -> None:
    path = f"/products/{aliases.product}/aliases/champion"
    read = aliases.client.get(path)
    assert read.headers["etag"] == f'"{aliases.champion}"'
    second = aliases.model()
    stale = {"if-match": read.headers["etag"]}
    for late in (
        aliases.client.put(path, json={"model": aliases.champion}, headers=stale),
        aliases.client.post(f"/products/{aliases.product}/rollback", json={}, headers=stale),
        aliases.client.put(path.replace("champion", "new"), json={"model": second}, headers=stale),
    ):
        assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert aliases.now == {"champion": second}
    fresh = {"if-match": aliases.client.get(path).headers["etag"]}
    moved = aliases.client.put(path, json={"model": aliases.champion}, headers=fresh)
    assert (moved.status_code, moved.headers["etag"]) == (200, f'"{aliases.champion}"')
    assert aliases.client.put(path, json={"model": second}, headers={"if-match": "*"}).status_code == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [('"mdl_1", "{now}"', 200), ("{now}", 200), ('W/"{now}"', 412), ('""', 412), ("{now}x" * 100, 422)],
)
def test_if_match_is_read_as_http_has_it(aliases: Aliases, header: str, status: int) -> None:
    path = f"/products/{aliases.product}/aliases/champion"
    given = {"if-match": header.replace("{now}", aliases.champion)}
    moved = aliases.client.put(path, json={"model": aliases.champion}, headers=given)
    assert moved.status_code == status, moved.text
