from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest

from app.cli.packing import MAX_FILE_BYTES
from app.cli.predict import BATCH_FILES
from tests.cli.conftest import Answer, Received, Run, Server, as_json, as_problem

MODEL = {"id": "mdl_1", "product": "screws", "version": 3, "alias": "champion", "digest": "d"}


def _answer(request: Received) -> Answer:
    """As the server does: `bad` in an image's content makes its own answer an error."""
    contents = [
        part.partition(b"\r\n\r\n")[2] for part in request.body.split(b"--")[1:] if b'name="file"' in part
    ]
    if len(contents) > 5:
        return as_problem(413, "too_large", "Too many images.")
    results = [
        {"name": "x", "error": {"code": "undecodable_image", "detail": "no image"}, "predictions": []}
        if b"bad" in content
        else {
            "name": "x",
            "top": {"label": content.strip().decode(), "probability": 0.75},
            "predictions": [
                {"label": content.strip().decode(), "index": 0, "probability": 0.75},
                {"label": "other, one", "index": 1, "probability": 0.25},
            ],
        }
        for content in contents
    ]
    if len(results) == 1 and "error" in results[0]:
        return as_problem(422, "undecodable_image", "no image")
    return as_json({"model": MODEL, "results": results, "errors": 0})


@pytest.fixture
def pictures(tmp_path: Path, server: Server) -> Path:
    """A folder of 20 images that say what they are; the last is bad."""
    server.answer = _answer
    for index in range(20):
        (tmp_path / f"{index:02d}.png").write_bytes(b"bad" if index == 19 else f"class{index}".encode())
    return tmp_path


def test_every_picture_has_its_own_answer_in_order(loupe: Run, server: Server, pictures: Path) -> None:
    ended = loupe("predict", "screws", pictures, "--csv", "--server", server.url)

    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert [row["picture"] for row in rows] == [str(pictures / f"{index:02d}.png") for index in range(20)]
    assert [row["label"] for row in rows[:-1]] == [f"class{index}" for index in range(19)]
    assert rows[-1]["error"] == "no image"
    assert float(rows[0]["probability"]) == 0.75


def test_requests_that_are_too_large_for_the_server_are_divided(
    loupe: Run, server: Server, pictures: Path
) -> None:
    loupe("predict", "screws", pictures, "--server", server.url)

    sizes = [request.body.count(b'name="file"') for request in server.requests]
    assert max(sizes) == BATCH_FILES
    assert sum(size for size in sizes if size <= 5) == 20


def test_one_bad_picture_is_a_row_and_makes_the_status_1(loupe: Run, server: Server, pictures: Path) -> None:
    good = loupe("predict", "screws", pictures / "00.png", "--server", server.url)
    alone = loupe("predict", "screws", pictures / "19.png", "--server", server.url)
    both = loupe("predict", "screws", pictures / "00.png", pictures / "19.png", "--server", server.url)

    assert (good.status, alone.status, both.status) == (0, 1, 1)
    assert "no image" in alone.out
    assert "class0" in both.out
    assert "no image" in both.out
    assert "mdl_1, version 3, champion of screws" in both.err


def test_a_file_that_cannot_be_read_is_a_row_too(loupe: Run, server: Server, pictures: Path) -> None:
    folder = pictures / "sub"
    folder.mkdir()
    (folder / "00.png").symlink_to(folder / "00.png")
    (folder / "01.png").write_bytes(b"fine")

    ended = loupe("predict", "screws", folder, "--json", "--server", server.url)

    unreadable, fine = ended.json["results"]
    assert ended.status == 1
    assert unreadable["error"]["code"] == "unreadable_file"
    assert fine["top"]["label"] == "fine"


def test_an_error_of_the_request_is_no_row(loupe: Run, server: Server, pictures: Path) -> None:
    server.answer = lambda _: as_problem(404, "not_found", "There is no product 'screws'.")

    ended = loupe("predict", "screws", pictures / "00.png", "--csv", "--server", server.url)

    assert ended.status == 1
    assert ended.err.startswith("error: There is no product 'screws'.")


def test_answers_that_are_too_few_are_an_error(loupe: Run, server: Server, pictures: Path) -> None:
    server.answer = lambda _: as_json({"model": MODEL, "results": [], "errors": 0})

    ended = loupe("predict", "screws", pictures, "--server", server.url)

    assert ended.status == 1
    assert "not those of the images that were sent" in ended.err


def test_csv_has_a_column_pair_for_each_rank(loupe: Run, server: Server, pictures: Path) -> None:
    ended = loupe("predict", "screws", pictures / "00.png", "--csv", "--top-k", 3, "--server", server.url)

    header, row = csv.reader(io.StringIO(ended.out))
    assert header[1:] == [
        "label_1",
        "probability_1",
        "label_2",
        "probability_2",
        "label_3",
        "probability_3",
        "error",
        "decision",
        "reject_reason",
        "model",
        "version",
    ]
    assert row[1:-2] == ["class0", "0.75", "other, one", "0.25", "", "", "", "", ""]
    assert row[-2:] == ["mdl_1", "3"]
    assert b'name="top_k"\r\n\r\n3\r\n' in server.requests[0].body


def test_what_is_no_picture_is_left_out_and_named_and_hidden_pictures_are_found(
    loupe: Run, server: Server, pictures: Path
) -> None:
    folder = pictures / "mixed"
    folder.mkdir()
    for name, content in {"a.heic": b"x", "b.apng": b"x", "c": b"GIF89a", "d.txt": b"x", "e": b"x"}.items():
        (folder / name).write_bytes(content)

    ended = loupe("predict", "screws", folder, "--json", "--server", server.url)

    assert ended.status == 0
    assert [Path(row["name"]).name for row in ended.json["results"]] == ["a.heic", "b.apng", "c"]
    assert ended.json["left_out"] == {"no image": [str(folder / "d.txt"), str(folder / "e")]}
    assert f"2 left out, no image: {folder / 'd.txt'}, {folder / 'e'}" in ended.err


def test_a_pipe_and_a_film_are_rows_and_are_not_read(loupe: Run, server: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "film.png").open("wb") as film:
        film.truncate(MAX_FILE_BYTES + 1)

    ended = loupe(
        "predict", "screws", tmp_path / "pipe.png", tmp_path / "film.png", "--json", "--server", server.url
    )

    assert ended.status == 1
    assert [row["error"]["detail"] for row in ended.json["results"]] == [
        "not a regular file",
        "128 MiB, the limit for one file is 128 MiB",
    ]
    assert not server.requests


def test_rows_come_while_later_pictures_are_still_to_be_asked(
    loupe: Run, server: Server, pictures: Path
) -> None:
    many = pictures / "many"
    many.mkdir()
    for index in range(4000):
        (many / f"{index:05d}.png").write_bytes(b"class")
    seen: list[int] = []

    def answer(request: Received) -> Answer:
        seen.append(1)
        if len(seen) > 40:
            return as_problem(503, "unavailable", "Gone.")
        contents = request.body.count(b'name="file"')
        row = {"predictions": [{"label": "cat", "index": 0, "probability": 0.5}]}
        return as_json({"model": MODEL, "results": [row] * contents, "errors": 0})

    server.answer = answer
    ended = loupe("predict", "screws", many, "--no-batch", "--server", server.url)

    assert ended.status == 1
    assert len(seen) < 80, "no more is asked once a request has failed"
    lines = ended.out.splitlines()
    assert lines[0].split() == ["image", "label", "probability"]
    assert lines[1].split() == [str(many / "00000.png"), "cat", "0.5000"]
    assert len(lines) > 16 * 20
    assert "Gone." in ended.err
