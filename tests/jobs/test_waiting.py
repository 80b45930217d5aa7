"""Trainings of a dataset that is still importing: accepted, kept waiting, started or failed with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import null, update

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.datasets.spec import ImportResult
from app.errors import ConflictError, CrashedError
from app.jobs import claims, reaper
from app.jobs.kinds.dataset_import import DatasetImport
from app.models import Dataset, Job, Worker
from app.schemas.job import JobCreate, JobRetry
from app.services import job_lifecycle, job_plan, jobs, workers
from app.services.job_states import TERMINAL
from app.services.storage import list_pushes
from tests.clients import local_client
from tests.pictures import make_files
from tests.running import TINY, run_queued, upload_pictures
from tests.services.message_queue import MessageQueue
from tests.services.rows import add_job, change_job, events, read_job
from tests.services.test_workers import new_worker

RESULT = ImportResult(digest="d", classes=(), counts={}, items=0, skipped=0, warnings=())


@pytest.fixture
def queue() -> MessageQueue:
    return MessageQueue()


@pytest.fixture
def waiting(any_context: AppContext, queue: MessageQueue) -> tuple[AppContext, str, str]:
    """(context, import, training) of a dataset that is importing."""
    context = replace(any_context, queue=queue)  # type: ignore[arg-type]
    importing = add_job(context, kind="import")
    with context.db.write() as session:
        row = session.get_one(Job, importing)
        session.get_one(Dataset, row.dataset).status = "importing"
        product = row.product_id
    return context, importing, submit(context, product)


def submit(context: AppContext, product: str, **request: Any) -> str:
    answer = jobs.create_job(context, JobCreate(product=product, network="tiny_cnn", **request))
    return str(answer.body["id"])


def test_a_training_right_after_its_import_waits_and_then_runs(
    client: TestClient, context: AppContext
) -> None:
    dataset = upload_pictures(client, "p")["id"]
    settings = {name: value for name, value in TINY.items() if name != "epochs"}
    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": settings}
    planned = client.post("/jobs?dry_run=true", json=body).raise_for_status().json()
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert (job["status"], job["waits_for"]) == ("queued", f"Dataset {dataset} is still importing.")
    assert job["dataset"] == {"id": dataset, "digest": None}
    assert (job["split"]["counts"], job["hyperparameters"]["epochs"]) == (None, None)
    assert (job["split"], job["hyperparameters"]) == (planned["split"], planned["hyperparameters"])
    assert client.post("/jobs", json={**body, "network": "tiny_cn"}).status_code == 422

    # As many epochs as the defaults give would take long here: it is enough that they are decided.
    change_job(context, job["id"], hyperparameters={**job["hyperparameters"], "epochs": 2})
    run_queued(context)
    ended = client.get(f"/jobs/{job['id']}").json()
    assert (ended["status"], ended["waits_for"]) == ("succeeded", None)
    assert ended["split"]["counts"] == {"train": 25, "valid": 5, "test": 6}
    assert ended["dataset"]["digest"]
    assert None not in (ended["hyperparameters"]["freeze_epochs"], ended["hyperparameters"]["epochs"])
    items = client.get(f"/datasets/{dataset}/items?job={job['id']}&limit=100").json()["data"]
    assert {item["split"] for item in items} == {"train", "valid", "test"}


def test_a_class_that_turns_out_too_small_fails_the_training_with_that_reason(
    client: TestClient, context: AppContext
) -> None:
    files = {**make_files(labels=("blue", "green")), **make_files(1, labels=("red",))}
    dataset = upload_pictures(client, "p", files)["id"]
    job = client.post("/jobs", json={"product": "p", "network": "tiny_cnn"}).json()["id"]
    run_queued(context)
    ended = client.get(f"/jobs/{job}").json()
    assert (ended["status"], ended["attempt"]) == ("failed", 1)
    assert (ended["error"]["code"], ended["error"]["retryable"]) == ("split_impossible", False)
    assert "too few in red" in ended["error"]["detail"]
    assert client.post("/jobs", json={"product": "p"}).json()["detail"] == ended["error"]["detail"]
    assert client.get(f"/datasets/{dataset}/items?job={job}").status_code == 409
    export = client.post(f"/datasets/{dataset}/exports", json={"format": "folders", "job": job})
    assert export.status_code == 409


def test_it_is_not_claimed_before_its_dataset_is_ready_and_announced_then(
    waiting: tuple[AppContext, str, str], queue: MessageQueue
) -> None:
    context, importing, training = waiting
    assert claims.claim(context, training, "a") is None
    assert claims.list_waiting(context, ["training", "tasks"]) == [importing]
    change_job(context, training, dispatched_at=None)
    change_job(context, importing, dispatched_at=None)
    reaper.announce_unclaimed_jobs(context)
    assert queue.messages == {"tasks": [importing]}

    claim = claims.claim(context, importing, "a")
    assert claim is not None
    DatasetImport().finish(context, claim, RESULT)
    assert queue.messages["training"] == [training]
    assert "A worker" in str(jobs.get_job(context, training).waits_for)
    assert claims.claim(context, training, "a") is not None


@pytest.mark.parametrize("state", ["queued", "paused"])
def test_it_fails_with_the_import_and_can_be_retried_when_that_is(
    waiting: tuple[AppContext, str, str], state: str
) -> None:
    context, importing, training = waiting
    if state == "paused":
        job_lifecycle.pause_job(context, training)
    claim = claims.claim(context, importing, "a")
    assert claim is not None
    claims.fail(context, claim, CrashedError("segfault").as_dict())
    row = read_job(context, training)
    assert row.status == "failed"
    assert row.error is not None
    assert row.error["detail"] == f"The import of dataset {row.dataset} failed: segfault"
    assert events(context, training, "status")[-1]["error"] == "conflict"

    with pytest.raises(ConflictError, match="failed: segfault"):
        job_lifecycle.retry_job(context, training, JobRetry())
    job_lifecycle.retry_job(context, importing, JobRetry())
    job_lifecycle.retry_job(context, training, JobRetry())
    assert read_job(context, training).status == "queued"
    assert claims.claim(context, training, "a") is None


def test_it_fails_when_the_import_is_cancelled_and_others_do_not(
    waiting: tuple[AppContext, str, str],
) -> None:
    context, importing, training = waiting
    other = add_job(context)
    job_lifecycle.cancel_job(context, importing)
    row = read_job(context, training)
    assert (row.status, row.status in TERMINAL) == ("failed", True)
    assert row.error is not None
    assert row.error["detail"] == f"The import of dataset {row.dataset} failed: The import was cancelled."
    assert read_job(context, other).status == "queued"


def test_an_import_that_ends_while_a_training_is_submitted_leaves_none_waiting_for_ever(
    waiting: tuple[AppContext, str, str], queue: MessageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, importing, training = waiting
    product = read_job(context, training).product_id
    end: Callable[[], object]
    claim = claims.claim(context, importing, "a")
    assert claim is not None

    def decide_late(*given: Any, **named: Any) -> Any:
        plan = job_plan.decide(*given, **named)
        end()
        return plan

    monkeypatch.setattr(jobs, "decide", decide_late)
    end = lambda: claims.fail(context, claim, CrashedError("segfault").as_dict())  # noqa: E731
    folders = set(context.storage.jobs.iterdir())
    with pytest.raises(ConflictError, match="segfault"):
        submit(context, product)
    assert set(context.storage.jobs.iterdir()) == folders

    job_lifecycle.retry_job(context, importing, JobRetry())
    again = claims.claim(context, importing, "a")
    assert again is not None
    end = lambda: DatasetImport().finish(context, again, RESULT)  # noqa: E731
    late = submit(context, product)
    assert queue.messages["training"] == [late]


def test_beside_a_worker_of_the_first_release_it_is_refused(waiting: tuple[AppContext, str, str]) -> None:
    context, _, training = waiting
    workers.beat(context, new_worker())
    product = read_job(context, training).product_id
    submit(context, product)
    with context.db.write() as session:
        session.execute(update(Worker).values(kinds=null()))
    with pytest.raises(ConflictError, match="still importing") as raised:
        submit(context, product)
    assert "a worker of the first release" in str(raised.value.hint)


def test_of_datasets_that_are_not_named_a_ready_one_goes_first_and_a_failed_one_last(
    waiting: tuple[AppContext, str, str],
) -> None:
    context, importing, training = waiting
    product, newer = read_job(context, training).product_id, read_job(context, add_job(context)).dataset
    with context.db.write() as session:
        row = session.get_one(Dataset, newer)
        row.product_id, row.status = product, "failed"
    assert read_job(context, submit(context, product)).dataset == read_job(context, importing).dataset


def test_a_worker_on_another_host_decides_what_was_left_open_and_shares_it(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    shared = {
        "storage_url": f"file://{tmp_path / 'shared'}",
        "database_url": f"sqlite:///{tmp_path / 'loupe.db'}",
    }
    hosts = [
        AppContext.open(settings.model_copy(update={**shared, "home": tmp_path / name}))
        for name in ("api", "worker")
    ]
    migrations.upgrade(hosts[0].db)
    with local_client(hosts[0].settings) as client:
        dataset = upload_pictures(client, "p")["id"]
        body = {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY}
        job = client.post("/jobs", json=body).raise_for_status().json()["id"]
        run_queued(hosts[1])
        assert client.get(f"/jobs/{job}").json()["status"] == "succeeded"
        items = client.get(f"/datasets/{dataset}/items?job={job}&limit=100").json()["data"]
    assert {item["split"] for item in items} == {"train", "valid", "test"}
    for host in hosts:
        host.close()


def test_a_push_to_a_shared_storage_asks_for_no_split_that_is_not_made_yet(
    waiting: tuple[AppContext, str, str],
) -> None:
    context, _, training = waiting
    assert f"split of {training}" not in dict(list_pushes(context))
    change_job(context, training, split={"counts": {"train": 1}})
    assert f"split of {training}" in dict(list_pushes(context))
