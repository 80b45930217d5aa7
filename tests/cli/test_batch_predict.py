"""``loupe predict`` for many images"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.cli.batch_predict import BATCH_FROM, split_lines
from app.cli.predict import BATCH_FILES
from tests.cli.conftest import Answer, Received, Run, Server, as_json, as_problem

MODEL = {"id": "mdl_1", "product": "screws", "version": 3, "alias": "champion", "digest": "d"}
BATCH = {
    "id": "job_1",
    "status": "queued",
    "stage": None,
    "model": MODEL,
    "error": None,
    "progress": {"done": 1, "total": 3, "images_per_second": 4.0, "eta_seconds": 0.5},
}
ERROR = {"code": "undecodable_image", "detail": "no image", "instance": "x"}


class Workers:
    """A server whose job needs three looks; it answers each image by what is in it."""

    def __init__(self, ends: str = "succeeded") -> None:
        self.looks, self.ends = 0, ends
        self.images: dict[str, bytes] = {}

    def __call__(self, request: Received) -> Answer:
        path = urlsplit(request.path).path
        if path == "/predict":
            row = {"predictions": [{"label": "one by one", "index": 0, "probability": 0.5}]}
            return as_json({"model": MODEL, "results": [row] * request.body.count(b'name="file"')})
        if request.method == "POST":
            with tarfile.open(fileobj=io.BytesIO(request.body)) as tar:
                self.images = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
            return as_json(BATCH, 202)
        if path.endswith("/results"):
            return 200, "application/jsonl", b"".join(map(self._line, self.images))
        self.looks += 1
        error = {"code": "bad_archive", "detail": "Purple.", "retryable": False, "errors": []}
        ended = {"status": self.ends, "error": error if self.ends == "failed" else None, "stop_reason": None}
        return as_json({**BATCH, **(ended if self.looks > 2 else {"status": "running"})})

    def _line(self, name: str) -> bytes:
        label = self.images[name].decode()
        entry = {"label": label, "index": 0, "probability": 0.75}
        line = {
            "name": name,
            "sha256": "a" * 64,
            "predictions": [] if label == "bad" else [entry],
            "image": None if label == "bad" else {"width": 1, "height": 1, "format": "png"},
            "warnings": [],
            "error": ERROR if label == "bad" else None,
            "model": "mdl_1",
        }
        return json.dumps(line).encode() + b"\n"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A good one, one that cannot be read here, a bad one, and one with an odd name."""
    (tmp_path / "a.png").write_bytes("löwe\u2028cat".encode())
    (tmp_path / "b.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"bad")
    (tmp_path / "=1+1.png").write_bytes(b"dog")
    return tmp_path


def paths(server: Server) -> list[str]:
    return [f"{request.method} {urlsplit(request.path).path}" for request in server.requests]


def test_the_answers_of_a_job_are_shown_as_those_of_requests_are(
    loupe: Run, server: Server, pictures: Path
) -> None:
    server.answer = Workers()
    ended = loupe("predict", "screws", pictures, "--batch", "--json", "--top-k", 2, "--server", server.url)

    assert ended.status == 1
    rows = ended.json["results"]
    assert [Path(row["name"]).name for row in rows] == ["=1+1.png", "a.png", "b.png", "c.png"]
    assert [row.get("top") and row["top"]["label"] for row in rows] == ["dog", "löwe\u2028cat", None, None]
    assert rows[0]["image"] == {"width": 1, "height": 1, "format": "png", "sha256": "a" * 64}
    assert rows[0]["model"] == MODEL
    assert [row["error"]["code"] for row in rows[2:]] == ["unreadable_file", "undecodable_image"]
    assert rows[3]["error"]["instance"] == str(pictures / "c.png")
    assert "2 of 4 images could not be predicted" in ended.err
    sent = server.requests[0]
    assert parse_qs(urlsplit(sent.path).query) == {"product": ["screws"], "top_k": ["2"]}
    assert sent.headers["content-type"] == "application/x-tar"
    table = loupe("predict", "screws", pictures, "--batch", "--csv", "--server", server.url)
    assert [line.rsplit("/")[-1] for line in table.out.rstrip().split("\n")[3:]] == [
        "b.png,,,Too many levels of symbolic links,,,,",
        "c.png,,,no image,,,mdl_1,3",
    ]


def test_many_images_are_a_job_and_few_are_asked_one_by_one(
    loupe: Run, server: Server, tmp_path: Path
) -> None:
    server.answer = Workers()
    for number in range(BATCH_FROM - 1):
        (tmp_path / f"{number}.png").write_bytes(b"dog")
    assert loupe("predict", "screws", tmp_path, "--server", server.url).status == 0
    assert set(paths(server)) == {"POST /predict"}
    (tmp_path / "one-more.png").write_bytes(b"dog")
    server.requests.clear()
    assert loupe("predict", "screws", tmp_path, "--server", server.url).status == 0
    assert paths(server)[0] == "POST /predictions"
    assert "POST /predict" not in paths(server)
    server.requests.clear()
    assert loupe("predict", "screws", tmp_path, "--no-batch", "--server", server.url).status == 0
    assert set(paths(server)) == {"POST /predict"}
    assert len(paths(server)) >= BATCH_FROM / BATCH_FILES


@pytest.mark.parametrize("status", [404, 405, 409, 413])
def test_a_server_that_cannot_take_them_as_a_job_is_asked_one_by_one_unless_the_user_wants_a_job(
    loupe: Run, server: Server, tmp_path: Path, status: int
) -> None:
    workers = Workers()

    def answer(request: Received) -> Answer:
        if request.path.startswith("/predictions"):
            return as_problem(status, "conflict", "Too old.")
        return workers(request)

    server.answer = answer
    for number in range(BATCH_FROM):
        (tmp_path / f"{number}.png").write_bytes(b"dog")
    ended = loupe("predict", "screws", tmp_path, "--server", server.url)
    assert ended.status == 0
    assert ended.out.count("one by one") == BATCH_FROM
    assert "Too old." in ended.err
    forced = loupe("predict", "screws", tmp_path, "--batch", "--server", server.url)
    assert forced.status == 1
    assert not forced.out
    assert "error: Too old." in forced.err


def test_a_job_that_fails_ends_the_command_with_its_reason(
    loupe: Run, server: Server, pictures: Path
) -> None:
    server.answer = Workers("failed")
    ended = loupe("predict", "screws", pictures, "--batch", "--csv", "--server", server.url)
    assert ended.status == 1
    assert not ended.out
    assert "The prediction job_1 failed." in ended.err
    assert "Purple." in ended.err


def test_results_of_other_images_are_not_shown(loupe: Run, server: Server, pictures: Path) -> None:
    workers = Workers()

    def answer(request: Received) -> Answer:
        if request.path.endswith("/results"):
            workers.images.pop("00000001.jpg")
        return workers(request)

    server.answer = answer
    ended = loupe("predict", "screws", pictures, "--batch", "--csv", "--server", server.url)
    assert ended.status == 1
    assert "not those of the images" in ended.err


def test_lines_end_at_line_feeds_alone() -> None:
    text = "a\u2028b\x85c\rd\ne\n".encode()
    assert list(split_lines(bytes([byte]) for byte in text)) == text.split(b"\n")[:2]
    assert list(split_lines([b"a\nb"])) == [b"a", b"b"]
