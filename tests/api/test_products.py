"""``/products``"""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.running import upload_pictures

NO_LIMITS: dict[str, object] = {"min_recall": {}, "max_bytes": None, "max_milliseconds": None}


def test_a_product_is_made_read_changed_and_deleted(client: TestClient) -> None:
    made = client.post("/products", json={"id": "screws", "gate": {"min_accuracy": 0.9}})
    assert made.status_code == 201
    assert made.headers["location"] == "/products/screws"
    assert made.json()["name"] == "screws"
    assert client.get("/products/screws").json() == made.json()

    changed = client.patch("/products/screws", json={"name": "Screws M4", "default_network": "ResNet_18"})
    assert changed.json()["name"] == "Screws M4"
    assert changed.json()["default_network"] == "resnet18"
    assert changed.json()["gate"] == {**NO_LIMITS, "min_accuracy": 0.9}

    assert client.delete("/products/screws").status_code == 204
    assert client.get("/products/screws").status_code == 404


def test_each_rule_of_a_gate_is_changed_and_taken_away_apart(client: TestClient) -> None:
    limits = {"min_recall": {"crack": 0.9, "dent": 0.8}, "max_bytes": 5_000_000, "max_milliseconds": 12.5}
    made = client.post("/products", json={"id": "screws", "gate": limits})
    assert made.json()["gate"] == {"min_accuracy": None, **limits}

    def change(**rules: object) -> object:
        answer = client.patch("/products/screws", json={"gate": rules})
        assert answer.status_code == 200, answer.text
        return answer.json()["gate"]

    assert change(min_accuracy=0.9) == {"min_accuracy": 0.9, **limits}
    floors = {"crack": 0.99, "rust": 0.5}
    changed = change(min_recall={"crack": 0.99, "dent": None, "rust": 0.5}, max_bytes=None)
    assert changed == {"min_accuracy": 0.9, "min_recall": floors, "max_bytes": None, "max_milliseconds": 12.5}
    assert change(min_recall=None, max_milliseconds=None, min_accuracy=None) == {
        "min_accuracy": None,
        **NO_LIMITS,
    }
    many = {f"class-{number}": 0.5 for number in range(1000)}
    change(min_recall=many)
    refused = client.patch("/products/screws", json={"gate": {"min_recall": {"one more": 0.5}}})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/gate/min_recall")


def test_rules_that_cannot_be_are_refused(client: TestClient) -> None:
    for rules in (
        {"min_recall": {"crack": 1.5}},
        {"min_recall": {"crack": True}},
        {"min_recall": {"": 0.5}},
        {"max_bytes": 0},
        {"max_milliseconds": 0},
        {"max_milliseconds": -1},
        {"max_size": 5},
    ):
        made = client.post("/products", json={"id": "screws", "gate": rules})
        assert made.status_code == 422, rules
    assert client.get("/products/screws").status_code == 404


def test_a_taken_id_is_a_conflict(client: TestClient) -> None:
    client.post("/products", json={"id": "screws"})
    again = client.post("/products", json={"id": "screws"})
    assert again.status_code == 409
    assert again.json()["code"] == "conflict"


def test_an_unknown_default_network_is_refused_with_the_valid_ones(client: TestClient) -> None:
    answer = client.post("/products", json={"id": "screws", "default_network": "mobilnet_v2"})
    assert answer.status_code == 422
    assert "mobilenet_v2" in answer.text
    assert client.get("/products/screws").status_code == 404


def test_lists_come_in_pages_that_hold_everything_once(client: TestClient) -> None:
    names = {f"product-{index}" for index in range(7)}
    for name in names:
        client.post("/products", json={"id": name})
    seen, cursor = [], None
    while True:
        page = client.get("/products", params={"limit": 3, **({"after": cursor} if cursor else {})}).json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert len(seen) == 7
    assert set(seen) == names
    assert cursor is None


def test_a_product_with_datasets_is_not_deleted(client: TestClient) -> None:
    upload_pictures(client, "screws")
    answer = client.delete("/products/screws")
    assert answer.status_code == 409
    assert client.get("/products/screws").status_code == 200


def test_the_same_key_and_body_replay_the_answer_and_another_body_is_refused(client: TestClient) -> None:
    headers = {"Idempotency-Key": "abc"}
    first = client.post("/products", json={"id": "screws"}, headers=headers)
    second = client.post("/products", json={"id": "screws"}, headers=headers)
    assert (second.status_code, second.json()) == (201, first.json())
    assert second.headers["location"] == first.headers["location"]
    other = client.post("/products", json={"id": "nuts"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_mismatch"
    assert client.get("/products/nuts").status_code == 404


def test_every_path_also_exists_under_v1(client: TestClient) -> None:
    client.post("/v1/products", json={"id": "screws"})
    assert client.get("/products/screws").json() == client.get("/v1/products/screws").json()
