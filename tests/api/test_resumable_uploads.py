"""An archive in pieces: what was acknowledged stays, and nobody else has it"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.errors import ConflictError, NotFoundError
from app.jobs.garbage import clean_scratch, forget_uploads
from app.models import AuditRecord, Upload
from app.models.base import utc_now
from app.services import resumable_uploads as uploads
from tests.api.keys import FIRST, make_headers
from tests.api.opened import opened
from tests.api.test_problems import assert_problem
from tests.clients import local_client
from tests.pictures import make_files, make_zip
from tests.running import run_queued

ARCHIVE = make_zip(make_files(4))
MIDDLE = len(ARCHIVE) // 2
PIECE = {"content-type": "application/offset+octet-stream", "tus-resumable": "1.0.0"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def begin(client: TestClient, headers: dict[str, str] | None = None, length: int = len(ARCHIVE)) -> str:
    given = {
        "upload-length": str(length),
        "upload-metadata": f"filetype x,filename {encoded('größe.zip')},fingerprint {encoded('mine')}",
        **(headers or {}),
    }
    answer = client.post("/uploads", headers=given)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"uploads/{answer.json()['id']}"
    return str(answer.json()["id"])


def send(client: TestClient, upload: str, offset: int, piece: bytes, **headers: str) -> Any:
    given = {**PIECE, "upload-offset": str(offset), **headers}
    return client.patch(f"/uploads/{upload}", content=piece, headers=given)


def offset_of(client: TestClient, upload: str) -> int:
    answer = client.head(f"/uploads/{upload}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def test_pieces_become_the_dataset_that_the_whole_archive_would(
    client: TestClient, context: AppContext
) -> None:
    client.post("/products", json={"id": "p"})
    upload = begin(client)
    assert offset_of(client, upload) == 0
    assert send(client, upload, 0, ARCHIVE[:MIDDLE]).headers["upload-offset"] == str(MIDDLE)
    assert offset_of(client, upload) == MIDDLE
    early = client.post("/products/p/datasets", json={"upload": upload})
    assert f"{MIDDLE:,} of {len(ARCHIVE):,}" in assert_problem(early, 409)["detail"]
    assert send(client, upload, MIDDLE, ARCHIVE[MIDDLE:]).status_code == 204
    answers = [client.post("/products/p/datasets", json={"upload": upload}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    first, again = (answer.json()["id"] for answer in answers)
    assert first == again, "whoever did not see the answer asks once more"
    client.post("/products", json={"id": "q"})
    for product, choices in (("q", {}), ("p", {"class_level": "top"})):
        other = client.post(f"/products/{product}/datasets", json={"upload": upload, **choices})
        assert f"became dataset {first} of p" in assert_problem(other, 409)["detail"]
    whole = client.post("/products/p/datasets", files={"file": ("whole.zip", ARCHIVE)}).json()["id"]
    run_queued(context)
    pieces, whole = (client.get(f"/datasets/{one}").json() for one in (first, whole))
    assert pieces["digest"] == whole["digest"]
    assert pieces["source"] == "größe.zip"
    assert list(context.storage.scratch.iterdir()) == []


def test_a_piece_must_follow_what_is_here(client: TestClient) -> None:
    upload = begin(client)
    send(client, upload, 0, ARCHIVE[:MIDDLE])
    for offset in (0, MIDDLE + 1):
        problem = assert_problem(send(client, upload, offset, b"x"), 409)
        assert f"byte {MIDDLE:,}" in problem["detail"]
    assert_problem(send(client, upload, MIDDLE, ARCHIVE[MIDDLE:] + b"x"), 413)
    chunked = client.patch(
        f"/uploads/{upload}",
        content=iter([ARCHIVE[MIDDLE:], b"x"]),
        headers={**PIECE, "upload-offset": str(MIDDLE)},
    )
    assert_problem(chunked, 413)
    assert_problem(send(client, upload, MIDDLE, b"x", **{"content-type": "application/zip"}), 415)
    assert_problem(send(client, upload, MIDDLE, b"x", **{"tus-resumable": "0.2.2"}), 412)
    assert offset_of(client, upload) == MIDDLE


def test_of_two_pieces_at_one_offset_one_counts(client: TestClient, context: AppContext) -> None:
    upload = uploads.get_upload(context, begin(client))
    pieces = []
    for content in (b"first", b"other one"):
        piece = uploads.new_piece(context, upload)
        piece.write_bytes(content)
        pieces.append(piece)
    uploads.keep_piece(context, upload, pieces[1])
    with pytest.raises(ConflictError):
        uploads.keep_piece(context, upload, pieces[0])
    assert offset_of(client, upload.id) == len(b"other one")


def test_an_archive_that_is_too_large_is_refused_before_it_comes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    too_large = {"upload-length": str(settings.max_upload_bytes + 1)}
    assert "LOUPE_MAX_UPLOAD_BYTES" in assert_problem(client.post("/uploads", headers=too_large), 413)["hint"]
    full = shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert_problem(client.post("/uploads", headers={"upload-length": "1000"}), 507)
    assert_problem(client.post("/uploads"), 422)
    for metadata in ("filename ***", f"fingerprint {encoded('x' * 201)}", f"filename {encoded(chr(0))}"):
        wrong = client.post("/uploads", headers={"upload-length": "9", "upload-metadata": metadata})
        assert_problem(wrong, 422)
    assert client.get("/uploads").json()["data"] == []


def test_an_upload_that_nobody_goes_on_with_goes_with_its_pieces(
    client: TestClient, context: AppContext
) -> None:
    left, kept = begin(client), begin(client)
    for upload in (left, kept):
        send(client, upload, 0, ARCHIVE[:MIDDLE])
    with context.db.write() as session:
        session.execute(
            update(Upload).where(Upload.id == left).values(expires_at=utc_now() - timedelta(seconds=1))
        )
    assert client.head(f"/uploads/{left}").status_code == 404
    assert_problem(client.get(f"/uploads/{left}"), 404)
    for upload in (left, kept):
        os.utime(context.storage.pieces(upload), (0, 0))
    clean_scratch(context)
    assert [path.name for path in context.storage.scratch.iterdir()] == [f"pieces-{kept}"]
    forget_uploads(context)
    assert [path.name for path in context.storage.scratch.iterdir()] == [f"pieces-{kept}"]
    assert client.delete(f"/uploads/{kept}").status_code == 204
    assert list(context.storage.scratch.iterdir()) == []


def test_an_upload_is_of_its_key_alone_and_counts_for_it(settings: Settings) -> None:
    with opened(Settings(home=settings.home, api_key="s3cret", _env_file=None)) as client:
        mine = make_headers(client, "write", limits={"upload_bytes_per_day": 1000})
        upload = begin(client, mine, 5000)
        for headers in (FIRST, make_headers(client, "write")):
            assert_problem(client.get(f"/uploads/{upload}", headers=headers), 404)
            assert_problem(send(client, upload, 0, b"x", **headers), 404)
            assert_problem(client.delete(f"/uploads/{upload}", headers=headers), 404)
            assert client.get("/uploads", headers=headers).json()["data"] == []
        assert send(client, upload, 0, b"x" * 900, **mine).status_code == 204
        assert_problem(send(client, upload, 900, b"x" * 900, **mine), 429)
        assert client.head(f"/uploads/{upload}", headers=mine).headers["upload-offset"] == "900"
        for _ in range(uploads.MOST_UNFINISHED - 1):
            begin(client, mine)
        refused = client.post("/uploads", headers={"upload-length": "9", **mine})
        assert "20 unfinished" in assert_problem(refused, 409)["detail"]


def test_what_a_cut_kept_away_is_not_counted(settings: Settings) -> None:
    """A piece declares the rest of the archive each time; only what came counts."""
    with opened(Settings(home=settings.home, api_key="s3cret", _env_file=None)) as client:
        mine = make_headers(client, "write", limits={"upload_bytes_per_day": 1000})
        upload = begin(client, mine, 900)
        for offset in (0, 1, 2):
            answer = send(client, upload, offset, b"x", **{**mine, "content-length": "800"})
            assert answer.status_code == 204
        assert send(client, upload, 3, b"x" * 897, **mine).status_code == 204


def test_the_same_files_find_their_upload_until_it_is_imported(client: TestClient) -> None:
    client.post("/products", json={"id": "p"})
    upload = begin(client)
    send(client, upload, 0, ARCHIVE)
    (found,) = client.get("/uploads", params={"fingerprint": "mine"}).json()["data"]
    assert (found["id"], found["offset"], found["name"]) == (upload, len(ARCHIVE), "größe.zip")
    assert client.get("/uploads", params={"fingerprint": "other"}).json()["data"] == []
    client.post("/products/p/datasets", json={"upload": upload})
    assert client.get("/uploads").json()["data"] == []


def test_a_dataset_whose_upload_is_lost_or_whose_dataset_was_deleted_says_so(
    client: TestClient, context: AppContext
) -> None:
    client.post("/products", json={"id": "p"})
    upload = begin(client)
    send(client, upload, 0, ARCHIVE)
    context.storage.remove(context.storage.pieces(upload))
    problem = assert_problem(client.post("/products/p/datasets", json={"upload": upload}), 409)
    assert "lost" in problem["detail"]
    # The client that does as it is told must not find it again.
    assert client.get("/uploads").json()["data"] == []
    assert_problem(client.post("/products/p/datasets", json={"upload": "upl_none"}), 404)
    for body in ({"upload": upload, "path": "/data"}, {"upload": None}):
        both = assert_problem(client.post("/products/p/datasets", json=body), 422)
        assert "either a path or an upload" in both["detail"]
    upload = begin(client)
    send(client, upload, 0, ARCHIVE)
    dataset = client.post("/products/p/datasets", json={"upload": upload}).json()
    client.post(f"/jobs/{dataset['job']}/cancel")
    assert client.delete(f"/datasets/{dataset['id']}?force=true").status_code == 204
    problem = assert_problem(client.post("/products/p/datasets", json={"upload": upload}), 409)
    assert "deleted since" in problem["detail"]


def test_one_request_at_a_time_puts_the_pieces_together(client: TestClient, context: AppContext) -> None:
    client.post("/products", json={"id": "p"})
    upload = begin(client)
    send(client, upload, 0, ARCHIVE)

    pieces = context.storage.pieces(upload)
    descriptor = os.open(pieces, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    busy = client.post("/products/p/datasets", json={"upload": upload})
    assert "another request" in assert_problem(busy, 503)["detail"]
    assert busy.headers["retry-after"]
    assert list(context.storage.scratch.iterdir()) == [pieces]
    os.close(descriptor)  # as the end of a process does
    made = client.post("/products/p/datasets", json={"upload": upload}).json()
    with context.db.read() as session:
        records = session.scalars(select(AuditRecord).where(AuditRecord.action.contains("datasets"))).all()
    assert [made["id"] in record.things for record in records if record.status == 202] == [True]


def test_an_upload_in_tiny_pieces_is_refused_before_its_row_grows_large(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_CUTS", 2)
    upload = begin(client)
    assert [send(client, upload, at, b"x").status_code for at in (0, 1)] == [204, 204]
    assert "2 pieces" in assert_problem(send(client, upload, 2, b"x"), 409)["detail"]


def test_a_piece_of_an_upload_that_is_given_up_meanwhile_is_of_none(
    client: TestClient, context: AppContext
) -> None:
    upload = uploads.get_upload(context, begin(client))
    piece = uploads.new_piece(context, upload)
    piece.write_bytes(b"x")
    assert client.delete(f"/uploads/{upload.id}").status_code == 204
    with pytest.raises(NotFoundError):
        uploads.keep_piece(context, upload, piece)
    with pytest.raises(NotFoundError):
        uploads.new_piece(context, upload)
    assert list(context.storage.scratch.iterdir()) == []


def test_another_host_goes_on_where_the_first_one_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.upload_thread.send_uploads", lambda _: None)
    (tmp_path / "shared").mkdir()
    shared: dict[str, Any] = {
        "storage_url": f"file://{tmp_path / 'shared'}",
        "database_url": f"sqlite:///{tmp_path / 'loupe.db'}",
    }
    hosts = [Settings(home=tmp_path / name, _env_file=None, **shared) for name in ("first", "second")]
    context = AppContext.open(hosts[0])
    migrations.upgrade(context.db)
    with local_client(hosts[0]) as first, local_client(hosts[1]) as second:
        first.post("/products", json={"id": "p"})
        upload = begin(first)
        send(first, upload, 0, ARCHIVE[:MIDDLE])
        shutil.rmtree(hosts[0].home / "scratch")
        assert offset_of(second, upload) == MIDDLE
        assert send(second, upload, MIDDLE, ARCHIVE[MIDDLE:]).status_code == 204
        answer = second.post("/products/p/datasets", json={"upload": upload})
        assert answer.status_code == 202, answer.text
    [whole] = (hosts[1].home / "scratch").glob("upload-*")
    assert whole.read_bytes() == ARCHIVE
    assert not context.storage.remote.list_names(context.storage.pieces(upload))
    context.close()
