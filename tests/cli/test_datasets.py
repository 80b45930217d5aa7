from __future__ import annotations

from typing import Any

from tests.cli.conftest import Answer, Received, Run, Server, as_json


def _dataset(name: str, product: str, minute: int) -> dict[str, Any]:
    return {
        "id": name, "product": product, "status": "ready", "items": 6, "classes": [], "skipped": 0,
        "source": "pictures.tar", "created_at": f"2026-01-01T00:{minute:02}:00.000Z",
    }  # fmt: skip


DATASETS = {"a": [_dataset("dst_3", "a", 3), _dataset("dst_1", "a", 1)], "b": [_dataset("dst_2", "b", 2)]}


def _answer(request: Received) -> Answer:
    path, _, _ = request.path.partition("?")
    rows = [{"id": name} for name in DATASETS] if path == "/products" else DATASETS[path.split("/")[2]]
    return as_json({"data": rows, "has_more": False, "next_cursor": None})


def test_without_a_product_the_datasets_of_all_are_listed_newest_first(loupe: Run, server: Server) -> None:
    server.answer = _answer

    ended = loupe("datasets", "--server", server.url)

    rows = [line.split()[:2] for line in ended.out.splitlines()[1:]]
    assert rows == [["dst_3", "a"], ["dst_2", "b"], ["dst_1", "a"]]


def test_a_limit_over_all_products_says_that_there_is_more(loupe: Run, server: Server) -> None:
    server.answer = _answer

    page = loupe("datasets", "--limit", 2, "--json", "--server", server.url).json

    assert [row["id"] for row in page["data"]] == ["dst_3", "dst_2"]
    assert page["has_more"]


def test_the_datasets_of_one_product_are_asked_for_alone(loupe: Run, server: Server) -> None:
    server.answer = _answer

    assert "dst_2" in loupe("dataset", "list", "b", "--server", server.url).out
    assert [request.path.partition("?")[0] for request in server.requests] == ["/products/b/datasets"]
