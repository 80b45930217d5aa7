from __future__ import annotations

import json
import os
from pathlib import Path
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


def test_choices_travel_with_the_upload_and_with_the_retry(
    loupe: Run, server: Server, tmp_path: Path
) -> None:
    server.answer = lambda _: as_json({"id": "dst_1", "job": "job_1", "status": "queued"})
    (tmp_path / "a.zip").write_bytes(b"PK")

    loupe("dataset", "import", "p", tmp_path / "a.zip", "--name-encoding", "shift_jis", "--no-wait",
          "--server", server.url)  # fmt: skip
    loupe(
        "job", "retry", "job_1", "--name-encoding", "cp932", "--class-level", "leaf", "--server", server.url
    )

    sent, retried = server.requests
    assert sent.path == "/products/p/datasets?name_encoding=shift_jis"
    assert json.loads(retried.body) == {
        "start": "checkpoint", "name_encoding": "cp932", "class_level": "leaf",
    }  # fmt: skip


def test_a_strict_import_of_a_folder_names_what_it_would_leave_out(
    loupe: Run, server: Server, tmp_path: Path
) -> None:
    server.answer = lambda _: as_json({"id": "dst_1", "job": "job_1", "status": "queued"})
    (tmp_path / "in/cat").mkdir(parents=True)
    (tmp_path / "in/cat/1.png").write_bytes(b"x")
    (tmp_path / "in/cat/.hidden").write_bytes(b"x")
    arguments = ("dataset", "import", "p", tmp_path / "in", "--strict", "--no-wait", "--server", server.url)

    loupe(*arguments)
    (tmp_path / "in/cat/2.png").symlink_to("/etc/passwd")
    refused = loupe(*arguments)

    assert [request.path for request in server.requests] == ["/products/p/datasets?strict=true"]
    assert refused.status == 1
    assert "cat/2.png: a link that leads out" in refused.err


def test_a_strict_import_of_a_folder_lists_what_is_left_out_and_what_is_odd_at_once(
    loupe: Run, server: Server, tmp_path: Path
) -> None:
    for name in ("cat/1.png", "cat/1.PNG", "cat/a\tb.png", "Cat/5.png", "dog/con.png", "dog/notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "in/dog/pipe")
    (tmp_path / "in/dog/link.png").symlink_to("/etc/passwd")

    refused = loupe("dataset", "import", "p", tmp_path / "in", "--strict", "--server", server.url)

    assert server.requests == []
    assert "6 files or folders would be left out, or have odd names" in refused.err
    for line in (
        "dog/pipe: neither a file", "dog/link.png: a link that leads out", "Cat and cat: are alike",
        "cat/a\\tb.png: the name has control characters", "dog/con.png: a part of the name is reserved",
        "cat/1.png: differs only by case",
    ):  # fmt: skip
        assert line in refused.err
    assert "renamed" not in refused.err


def test_an_import_that_asks_names_the_job_to_retry(loupe: Run, server: Server, tmp_path: Path) -> None:
    error = {"code": "choice_needed", "title": "t", "detail": "two readings", "hint": "JOB", "errors": []}
    job = {
        "id": "job_1", "kind": "import", "status": "failed", "error": error, "progress": {}, "stage": None,
        "waits_for": None,
    }  # fmt: skip
    dataset = {"id": "dst_1", "job": "job_1", "status": "importing"}
    no_events = {"data": [], "has_more": False, "next_cursor": None}

    def answer(request: Received) -> Answer:
        if request.method == "POST":
            return as_json(dataset)
        return as_json(no_events if "/events" in request.path else job)

    server.answer = answer
    (tmp_path / "a.zip").write_bytes(b"PK")

    ended = loupe("dataset", "import", "p", tmp_path / "a.zip", "--server", server.url)

    assert ended.status == 1
    assert "two readings" in ended.err
    assert "job_1" in ended.err


def test_the_filters_of_images_are_asked_for_on_each_page(loupe: Run, server: Server) -> None:
    row = {"id": "img_1", "name": "a", "label": "red", "split": "test", "width": 1, "height": 1,
           "format": "png", "bytes": 1, "notes": [], "group": None}  # fmt: skip
    server.answer = lambda request: as_json(
        {"data": [row], "has_more": "after" not in request.path, "next_cursor": "bmV4dA"}
    )

    filters = ("--label", "red", "--split", "test", "--job", "job_1")
    ended = loupe("dataset", "items", "dst_1", *filters, "--limit", 3, "--server", server.url)

    assert [line.split()[:4] for line in ended.out.splitlines()[1:]] == [["img_1", "a", "red", "test"]] * 2
    assert "group" not in ended.out
    for request in server.requests:
        assert "job=job_1&label=red&split=test" in request.path
    row["group"] = "part7"
    assert "part7" in loupe("dataset", "items", "dst_1", "--group", "part7", "--server", server.url).out
    assert "group=part7" in server.requests[-1].path


def test_similar_images_are_shown_with_how_alike_they_are(loupe: Run, server: Server, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"img_{place}", "similarity": similarity, "name": "a", "label": "red", "split": None,
         "width": 1, "height": 1, "format": "png", "bytes": 1, "notes": [], "group": None,
         "sha256": str(place)}
        for place, similarity in ((1, 1.0), (2, 0.5))
    ]  # fmt: skip
    server.answer = lambda _: as_json({"image": {"sha256": "1"}, "data": rows})
    (tmp_path / "a.png").write_bytes(b"an image")

    ended = loupe("dataset", "similar", "dst_1", tmp_path / "a.png", "--limit", 2, "--server", server.url)

    assert [line.split()[:2] for line in ended.out.splitlines()[1:]] == [
        ["img_1", "1.0000"],
        ["img_2", "0.5000"],
    ]
    assert "same file is in the dataset: img_1\n" in ended.err
    (request,) = server.requests
    assert request.path == "/datasets/dst_1/similar?limit=2"
    assert b"an image" in request.body


def test_a_file_that_cannot_be_sent_is_named(loupe: Run, server: Server, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.png"):
        ended = loupe("dataset", "similar", "dst_1", path, "--server", server.url)
        assert ended.status == 1
        assert str(path) in ended.err
    assert not server.requests
