"""``/products/{product}/datasets`` and ``/datasets``: what goes in, what is said of it, what comes out."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from fastapi.testclient import TestClient

from app.api import archives
from app.config import Settings
from app.context import AppContext
from app.datasets.labels import READ_TABLES
from app.images.formats import format_of_name
from app.schemas.archive_kinds import ANY_FILE, ARCHIVE_KINDS, MEDIA_TYPES, media_type_of_name
from tests.clients import local_client
from tests.conftest import Trained
from tests.pictures import make_files, make_picture, make_zip, write_folder
from tests.running import import_pictures, run_queued
from tests.waiting import wait_for


@pytest.fixture
def product(client: TestClient) -> str:
    client.post("/products", json={"id": "p"})
    return "p"


def make_tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return output.getvalue()


def finish(client: TestClient, context: AppContext, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    run_queued(context)
    dataset: dict[str, Any] = client.get(answer.headers["location"]).json()
    return dataset


def test_the_same_pictures_have_the_same_digest_however_they_come(
    tmp_path: Path, settings: Settings, context: AppContext
) -> None:
    folder = write_folder(tmp_path / "roots" / "squares", make_files())
    allowed = settings.model_copy(update={"dataset_roots": (tmp_path / "roots",)})
    with local_client(allowed) as client:
        client.post("/products", json={"id": "p"})
        path, headers = "/products/p/datasets", {"content-type": "application/zip"}
        archive = make_zip({f"wrapped/{name}": data for name, data in make_files().items()})
        answers = [
            client.post(path, files={"file": ("a.zip", make_zip(make_files()))}),
            client.post(path, files={"file": ("a.tar.gz", make_tar(make_files()))}),
            client.post(path, files={"file": ("a.tar", make_tar(make_files(), "w"))}),
            client.post(path, content=archive, headers=headers),
            client.post(path, json={"path": str(folder)}),
        ]
        datasets = [finish(client, context, answer) for answer in answers]
    assert {dataset["status"] for dataset in datasets} == {"ready"}
    assert len({dataset["digest"] for dataset in datasets}) == 1
    assert len({dataset["id"] for dataset in datasets}) == 5
    assert list(context.storage.scratch.iterdir()) == [], "uploads are gone once they are imported"
    assert folder.is_dir(), "a folder that was imported by path is not touched"


@pytest.mark.parametrize("is_good", [True, False])
def test_an_import_is_waited_for_as_a_job_is(client: TestClient, context: AppContext, is_good: bool) -> None:
    client.post("/products", json={"id": "p"})
    path, content = "/products/p/datasets", make_zip(make_files()) if is_good else b"no archive"
    headers = {"content-type": "application/zip", "idempotency-key": "k"}
    running = threading.Thread(target=lambda: run_queued(context))
    asked: dict[str, Any] = {}

    def ask() -> None:
        asked["answer"] = client.post(f"{path}?wait=60", content=content, headers=headers)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: client.get(path).json()["data"], 30, "the dataset")
    assert asking.is_alive()
    running.start()
    asking.join(60)
    running.join(60)

    answer = asked["answer"]
    assert answer.status_code == 202, answer.text
    dataset = answer.json()
    assert dataset["status"] == ("ready" if is_good else "failed")
    assert bool(dataset["error"]) is not is_good
    assert client.get(f"{answer.headers['location']}?wait=60").json() == dataset, (
        "what has ended is not waited for"
    )
    assert client.post(f"{path}?wait=60", content=content, headers=headers).json() == dataset
    assert client.get(f"/datasets/{dataset['id']}?wait=61").status_code == 422


def test_one_who_waits_too_short_for_an_import_sees_it_importing(client: TestClient, product: str) -> None:
    files = {"file": ("a.zip", make_zip(make_files()))}

    answer = client.post(f"/products/{product}/datasets?wait=0.1", files=files)

    assert (answer.status_code, answer.json()["status"]) == (202, "importing")


def test_every_kind_of_archive_is_taken_under_each_of_its_media_types(client: TestClient) -> None:
    client.post("/products", json={"id": "p"})
    for kind in ARCHIVE_KINDS:
        assert media_type_of_name(kind.extensions[0]) == kind.media_types[0]
        for media_type in (*kind.media_types, ANY_FILE):
            answer = client.post(
                "/products/p/datasets", content=make_zip(make_files()), headers={"content-type": media_type}
            )
            assert answer.status_code == 202, answer.text


def test_the_report_names_what_was_left_out_and_what_to_do(client: TestClient, context: AppContext) -> None:
    files = make_files()
    files |= {
        "red/broken.jpg": b"\xff\xd8\xff\xe0 broken",
        "red/empty.png": b"",
        "red/copy.png": files["red/red_000.png"],
        "blue/same_as_green.png": files["green/green_001.png"],
        "red/wrong_name.jpg": make_picture("red", 50),
        "lonely/one.png": make_picture("red", 51),
        "__MACOSX/red/._red_000.png": b"x",
        "red/.DS_Store": b"x",
        "notes.txt": b"hello",
    }
    dataset = import_pictures(client, context, "p", files)
    answer = client.get(f"/datasets/{dataset}").json()
    assert answer["status"] == "ready"
    assert {entry["name"]: entry["count"] for entry in answer["classes"]}["lonely"] == 1
    report = client.get(f"/datasets/{dataset}/report").json()
    assert {entry["name"] for entry in report["corrupt"]} >= {"red/broken.jpg", "red/empty.png"}
    assert {"red/.DS_Store", "notes.txt"} <= {entry["name"] for entry in report["skipped"]}
    assert any("red/copy.png" in group for group in report["duplicates"])
    assert report["conflicting_labels"][0]["labels"] == ["blue", "green"]
    assert "lonely" in str(report["small_classes"])
    assert report["wrong_extensions"][0]["name"] == "red/wrong_name.jpg"
    assert report["advice"]
    refused = client.post("/jobs", json={"product": "p", "network": "tiny_cnn"})
    assert refused.status_code == 422
    assert refused.json()["code"] == "split_impossible"
    assert "lonely" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (b"", "bad_archive"),
        (b"this is no archive", "bad_archive"),
        (make_zip({})[:-4], "bad_archive"),
        (make_zip({"../evil/x.png": make_picture("red", 1), **make_files(3)}), "unsafe_archive"),
        (make_zip({"/etc/x.png": make_picture("red", 1), **make_files(3)}), "unsafe_archive"),
        (make_tar({"a/../../x.png": make_picture("red", 1)}), "unsafe_archive"),
        (make_zip({"red/" + "n" * 4096 + ".png": make_picture("red", 1)}), "data_error"),
        (make_zip({**make_files(4, ("red",)), "labels.csv": b"x"}), "data_error"),
        (make_zip({"notes.txt": b"no images"}), "data_error"),
        (make_zip({"red_000.png": make_picture("red", 0)}), "data_error"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_archive_that_cannot_be_used_fails_with_a_reason_and_a_hint(
    client: TestClient, context: AppContext, product: str, archive: bytes, code: str
) -> None:
    answer = client.post(f"/products/{product}/datasets", files={"file": ("x.zip", archive)})
    dataset = finish(client, context, answer)
    assert dataset["status"] == "failed"
    assert dataset["error"]["code"] == code, dataset["error"]
    assert dataset["error"]["hint"]
    assert client.get(f"/jobs/{dataset['job']}").json()["status"] == "failed"
    assert client.get(f"/datasets/{dataset['id']}/items").status_code == 409
    assert list(context.storage.scratch.iterdir()) == []
    assert not list(context.storage.datasets.glob("*/manifest.json"))
    retried = client.post(f"/jobs/{dataset['job']}/retry")
    assert (retried.status_code, retried.json()["code"]) == (409, "conflict")


@pytest.fixture
def failed_for_space(
    client: TestClient, context: AppContext, product: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A dataset whose import met a full disk; the next attempt meets none."""
    (tmp_path / "failpoints").mkdir()
    (tmp_path / "failpoints" / "child.started").write_text("full\n")
    monkeypatch.setenv("LOUPE_FAILPOINTS", str(tmp_path / "failpoints"))
    answer = client.post(f"/products/{product}/datasets", files={"file": ("x.zip", make_zip(make_files(4)))})
    dataset = finish(client, context, answer)
    assert (dataset["status"], dataset["error"]["code"]) == ("failed", "disk_full")
    assert dataset["error"]["retryable"]
    return dataset


def test_an_import_that_met_a_full_disk_is_retried_from_the_upload_that_was_kept(
    client: TestClient, context: AppContext, failed_for_space: dict[str, Any]
) -> None:
    path = f"/datasets/{failed_for_space['id']}"
    assert client.post(f"/jobs/{failed_for_space['job']}/retry").status_code == 202
    waiting = client.get(path).json()
    assert (waiting["status"], waiting["error"]) == ("importing", None)
    run_queued(context)
    dataset = client.get(path).json()
    assert (dataset["status"], dataset["items"]) == ("ready", 12)
    assert list(context.storage.scratch.iterdir()) == []


def test_an_upload_goes_with_its_failed_job(
    client: TestClient, context: AppContext, failed_for_space: dict[str, Any]
) -> None:
    assert len(list(context.storage.scratch.iterdir())) == 1
    assert client.delete(f"/jobs/{failed_for_space['job']}").status_code == 204
    assert list(context.storage.scratch.iterdir()) == []


def test_folders_that_came_split_are_kept_so(client: TestClient, context: AppContext) -> None:
    files = {
        f"{split}/{label}/{index}.png": make_picture(label, index + 100 * offset)
        for offset, (split, count) in enumerate({"train": 6, "valid": 2, "test": 3}.items())
        for label in ("red", "blue")
        for index in range(count)
    }
    dataset = import_pictures(client, context, "p", files)
    assert client.get(f"/datasets/{dataset}").json()["counts"] == {"train": 12, "valid": 4, "test": 6}
    plan = client.post("/jobs?dry_run=true", json={"product": "p", "network": "tiny_cnn"}).json()
    assert plan["split"]["counts"] == {"train": 12, "valid": 4, "test": 6}


def test_items_come_in_pages_with_their_pictures(trained: Trained) -> None:
    client, path = trained.client, f"/datasets/{trained.dataset}/items"
    first = client.get(f"{path}?limit=20").json()
    second = client.get(f"{path}?limit=20&after={first['next_cursor']}").json()
    assert len(first["data"]) == 20
    assert len(second["data"]) == 16
    assert not second["has_more"]
    names = [item["name"] for item in first["data"] + second["data"]]
    assert set(names) == set(make_files())
    reds = client.get(f"{path}?label=red&limit=100").json()["data"]
    assert {item["label"] for item in reds} == {"red"}
    item = reds[0]
    picture = client.get(f"{path}/{item['id']}/image")
    assert picture.content == make_files()[item["name"]]
    assert picture.headers["content-type"] == "image/png"


def test_an_export_is_imported_again_unchanged(client: TestClient, context: AppContext) -> None:
    dataset = import_pictures(client, context, "p")
    asked = client.post(f"/datasets/{dataset}/exports", json={"format": "folders"})
    assert asked.status_code == 202
    path = f"/datasets/{dataset}/exports/{asked.json()['id']}"
    assert client.get(path).status_code == 409
    run_queued(context)
    exported = client.get(path)
    assert exported.status_code == 200
    again = client.post("/products/p/datasets", files={"file": ("x.tar", exported.content)})
    digests = {finish(client, context, again)["digest"], client.get(f"/datasets/{dataset}").json()["digest"]}
    assert len(digests) == 1


def test_records_are_exported_at_a_size(client: TestClient, context: AppContext) -> None:
    dataset = import_pictures(client, context, "p")
    path = f"/datasets/{dataset}/exports"
    assert client.post(path, json={"format": "tfrecord"}).status_code == 422
    assert client.post(path, json={"format": "tfrecord", "image_size": 5000}).status_code == 422
    asked = client.post(path, json={"format": "tfrecord", "image_size": 16, "compression": "gzip"}).json()
    run_queued(context)
    exported = client.get(f"{path}/{asked['id']}").content
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        assert any("tfrecord" in name for name in archive.getnames())


def test_a_client_can_learn_what_an_import_reads_before_it_sends(
    client: TestClient, context: AppContext
) -> None:
    formats = client.get("/formats").json()
    assert {archive["media_type"] for archive in formats["archives"]} <= set(MEDIA_TYPES)
    extensions = [extension for image in formats["images"] for extension in image["extensions"]]
    assert all(format_of_name(f"a{extension}") is not None for extension in extensions)
    assert formats["max_upload_bytes"] == context.settings.max_upload_bytes
    assert formats["tables"] == list(READ_TABLES)


def test_an_upload_over_the_limit_is_a_413_and_leaves_nothing(
    settings: Settings, context: AppContext
) -> None:
    small = settings.model_copy(update={"max_upload_bytes": 1000})
    with local_client(small) as client:
        client.post("/products", json={"id": "p"})
        for body in ({"files": {"file": ("x.zip", b"x" * 5000)}}, {"content": b"x" * 5000}):
            headers = {} if "files" in body else {"content-type": "application/zip"}
            answer = client.post("/products/p/datasets", headers=headers, **body)
            assert answer.status_code == 413
        assert client.get("/products/p/datasets").json()["data"] == []
    assert list(context.storage.scratch.iterdir()) == []


def test_the_file_of_a_form_waits_in_scratch_without_a_name(
    client: TestClient, context: AppContext, product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_in: list[Path] = []
    copy = archives._copy

    def copy_seen(source: BinaryIO, target: Path, limit: int) -> str:
        lay_in.append(Path(f"/proc/self/fd/{source.fileno()}").readlink())
        return copy(source, target, limit)

    monkeypatch.setattr(archives, "_copy", copy_seen)
    form = {"file": ("x.zip", bytes(3_000_000))}
    assert client.post(f"/products/{product}/datasets", files=form).status_code == 202
    (path,) = lay_in
    assert path.parent == context.storage.scratch
    assert path.name.endswith("(deleted)")


def test_an_upload_repeated_with_its_key_is_imported_once(
    client: TestClient, context: AppContext, product: str
) -> None:
    headers, archive = {"Idempotency-Key": "one"}, make_zip(make_files())
    answers = [
        client.post(f"/products/{product}/datasets", files={"file": ("x.zip", archive)}, headers=headers)
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert len(run_queued(context)) == 1
    assert len(client.get(f"/products/{product}/datasets").json()["data"]) == 1
    assert list(context.storage.scratch.iterdir()) == []


def test_a_dataset_is_deleted_once_and_a_product_by_force(client: TestClient, context: AppContext) -> None:
    dataset = import_pictures(client, context, "to-delete")
    job = client.post("/jobs", json={"product": "to-delete", "network": "tiny_cnn"}).json()["id"]
    refused = client.delete(f"/datasets/{dataset}?force=true")
    assert refused.status_code == 409
    assert refused.json()["errors"] == [{"pointer": f"/jobs/{job}", "message": "a training, queued"}]
    client.post(f"/jobs/{job}/cancel").raise_for_status()
    assert client.delete(f"/datasets/{dataset}").status_code == 409
    assert client.delete(f"/datasets/{dataset}?force=true").status_code == 204
    assert client.delete(f"/datasets/{dataset}").status_code == 404
    assert client.get("/products/to-delete/datasets").json()["data"] == []
    assert client.delete("/products/to-delete?force=true").status_code == 204
    assert client.delete("/products/to-delete").status_code == 404
