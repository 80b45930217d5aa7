"""The same walk on SQLite and on PostgreSQL, and what only shows when requests come at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from app.context import AppContext
from tests.clients import local_client
from tests.pictures import make_picture
from tests.running import TINY, import_pictures, run_queued


def test_from_pictures_to_a_prediction(any_context: AppContext) -> None:
    with local_client(any_context.settings) as client:
        import_pictures(client, any_context, "squares")
        body = {
            "product": "squares",
            "network": "tiny_cnn",
            "hyperparameters": TINY,
            "metadata": {"who": "me"},
        }
        job = client.post("/jobs", json=body).raise_for_status().json()["id"]
        run_queued(any_context)
        ended = client.get(f"/jobs/{job}").json()
        assert ended["status"] == "succeeded", ended["error"]
        assert ended["metadata"] == {"who": "me"}
        metrics = client.get(f"/jobs/{job}/metrics").json()
        assert [point["step"] for point in metrics["steps"]] == list(range(1, 9))
        files = {"file": ("red.png", make_picture("red", 5))}
        assert client.post("/predict", files=files, data={"product": "squares"}).status_code == 200
        assert client.delete(f"/jobs/{job}").status_code == 409


def test_one_key_sent_by_many_at_once_makes_one_product(any_context: AppContext) -> None:
    with local_client(any_context.settings) as client, ThreadPoolExecutor(8) as threads:

        def create(_: int) -> tuple[int, str]:
            answer = client.post("/products", json={"id": "one"}, headers={"Idempotency-Key": "k"})
            return answer.status_code, answer.text

        answers = set(threads.map(create, range(16)))
        assert len(answers) == 1
        assert answers.pop()[0] == 201


def test_one_id_taken_by_many_at_once_is_given_once(any_context: AppContext) -> None:
    with local_client(any_context.settings) as client, ThreadPoolExecutor(8) as threads:
        codes = list(
            threads.map(lambda _: client.post("/products", json={"id": "one"}).status_code, range(16))
        )
        assert sorted(codes) == [201] + [409] * 15


def test_texts_that_cannot_be_stored_are_refused(any_context: AppContext) -> None:
    with local_client(any_context.settings, raise_server_exceptions=False) as client:
        for escaped in (r"a\u0000b", r"\ud800"):
            body = f'{{"id": "p", "name": "{escaped}"}}'
            answer = client.post("/products", content=body, headers={"content-type": "application/json"})
            assert answer.status_code in (201, 422), answer.text
        assert client.get("/products/a%00b").status_code in (404, 422)
