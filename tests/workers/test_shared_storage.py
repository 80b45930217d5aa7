"""Hosts that share a database and a bucket and nothing else: the whole way, and one that is lost."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.host.processes import is_gone
from app.jobs import reaper
from tests.clients import local_client
from tests.conftest import Trained, on_s3
from tests.pictures import make_files
from tests.running import TINY, all_events, run_queued, upload_pictures
from tests.s3_server import KEYS, Gate, S3Server
from tests.stores import store_of
from tests.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

RUN_ONE = """
import sys, threading
from app.config import Settings
from app.context import AppContext
from app.jobs import claims
from app.host.processes import process_owner
from app.workers.supervisor import Supervisor
context = AppContext.open(Settings(_env_file=None))
Supervisor(context, claims.claim(context, sys.argv[1], process_owner()), threading.Event()).run()
"""


@dataclass
class Hosts:
    """An API on one host, workers on others. All have a home folder of their own."""

    root: Path
    settings: Settings
    client: TestClient
    api: AppContext
    gate: Gate
    dataset: str = ""
    job: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    """What the API answered during the outage."""

    def host(self, name: str) -> AppContext:
        return AppContext.open(self.settings.model_copy(update={"home": self.root / name}))

    def submit(self) -> str:
        body = {"product": "squares", "network": "tiny_cnn", "hyperparameters": TINY}
        job: str = self.client.post("/jobs", json=body).raise_for_status().json()["id"]
        return job

    def get(self) -> Any:
        return self.client.get(f"/jobs/{self.job}").json()

    def step(self) -> int:
        return int(self.get()["progress"]["step"] or 0)

    def events(self) -> list[dict[str, Any]]:
        return all_events(self.client, self.job)

    def model(self) -> Any:
        (model,) = self.client.get(f"/models?job={self.job}").json()["data"]
        return model

    def arm(self, name: str, *actions: str) -> None:
        """What happens to workers at a failpoint."""
        (self.root / "failpoints").mkdir(exist_ok=True)
        (self.root / "failpoints" / name).write_text("".join(f"{action}\n" for action in actions))

    def disarm(self, name: str) -> None:
        (self.root / "failpoints" / name).unlink()

    def is_spent(self, name: str) -> bool:
        """Whether all that was to happen at a failpoint has begun."""
        return not (self.root / "failpoints" / name).read_text()

    def environment(self, name: str) -> dict[str, str]:
        settings = self.settings
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("LOUPE_")},
            "LOUPE_HOME": str(self.root / name),
            "LOUPE_DATABASE_URL": str(settings.database_url),
            "LOUPE_STORAGE_URL": str(settings.storage_url),
            "LOUPE_STORAGE_ENDPOINT_URL": str(settings.storage_endpoint_url),
            "LOUPE_STORAGE_REGION": str(settings.storage_region),
            **{f"LOUPE_{key.upper()}": value for key, value in KEYS.items()},
            "LOUPE_CHECKPOINT_SECONDS": "0.5",
            "LOUPE_FAILPOINTS": str(self.root / "failpoints"),
        }


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, s3: S3Server) -> Iterator[Hosts]:
    """A training that was uploaded on one host, imported on a second, begun on a third and ended on a fourth.

    The third was killed in the middle of an upload, and its home deleted. The fourth saw the storage vanish
    and come back.
    """
    root = tmp_path_factory.mktemp("hosts")
    gate = Gate(s3.port)
    settings = on_s3(Settings(home=root / "api", _env_file=None), s3, gate.url)
    settings = settings.model_copy(update={"database_url": f"sqlite:///{root / 'loupe.db'}"})
    api = AppContext.open(settings)
    migrations.upgrade(api.db)
    with local_client(settings, raise_server_exceptions=False) as client:
        hosts = Hosts(root, settings, client, api, gate)
        hosts.dataset = upload_pictures(client, "squares")["id"]
        run_queued(hosts.host("tasks"))

        hosts.arm("train.step", "*sleep 0.3")
        hosts.job = hosts.submit()
        _lose_a_worker(hosts)
        _train_to_the_end(hosts)
        yield hosts
    api.close()
    gate.shut()
    shutil.rmtree(root, ignore_errors=True)


def _lose_a_worker(hosts: Hosts) -> None:
    """It dies while it uploads its second checkpoint: the files are there, the inventory is not."""
    hosts.arm("storage.files_put", "skip", "sleep 600")
    lost = _start(hosts, "lost")
    _wait(lambda: "checkpoint" in {event["type"] for event in hosts.events()}, "a checkpoint", lost)
    _wait(lambda: hosts.is_spent("storage.files_put"), "the next one's upload", lost)
    os.killpg(lost.pid, signal.SIGKILL)
    lost.wait()
    shutil.rmtree(hosts.root / "lost", ignore_errors=True)
    assert reaper.reclaim_lost_jobs(hosts.api, is_gone=is_gone, trust_expiry=False) == [hosts.job]


def _train_to_the_end(hosts: Hosts) -> None:
    """Meanwhile the storage is away, from right after the resume until the results wait to be seen."""
    worker = _start(hosts, "other")
    _wait(lambda: "resumed" in {event["type"] for event in hosts.events()}, "the resume", worker)
    hosts.gate.shut()
    before = hosts.step()
    hosts.answers["ready"] = hosts.client.get("/readyz")
    hosts.answers["submit"] = hosts.client.post("/jobs", json={"product": "squares", "network": "tiny_cnn"})
    hosts.disarm("train.step")
    _wait(lambda: hosts.get()["stage"] == "verifying", "the verification", worker)
    assert hosts.step() > before, "the training goes on without the storage"
    threading.Event().wait(1)
    hosts.answers["waiting"] = hosts.client.get(f"/jobs/{hosts.job}")
    hosts.gate.open()
    assert worker.wait(120) == 0


def test_a_worker_lost_with_its_home_costs_no_bit_of_the_weights(hosts: Hosts, trained: Trained) -> None:
    ended = hosts.get()
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2), ended["error"]
    events = hosts.events()
    (resumed,) = [event for event in events if event["type"] == "resumed"]
    saved = [
        event["data"]["step"]
        for event in events
        if event["type"] == "checkpoint" and event["number"] < resumed["number"]
    ]
    assert resumed["data"]["exact"]
    assert resumed["data"]["step"] >= saved[-1] > 0, "what was saved and recorded is never trained again"

    (undisturbed,) = trained.client.get(f"/models?job={trained.job}").json()["data"]
    assert hosts.model()["weights_sha256"] == undisturbed["weights_sha256"]
    log = "/logs/training_result_step.log"
    assert _without_speed(hosts.client.get(f"/jobs/{hosts.job}{log}").text) == _without_speed(
        trained.client.get(f"/jobs/{trained.job}{log}").text
    )


def test_an_outage_of_the_storage_is_told_and_waited_for(hosts: Hosts) -> None:
    ready, submit = hosts.answers["ready"], hosts.answers["submit"]
    assert ready.status_code == 503
    assert ready.json()["checks"]["storage"].startswith("The storage does not answer.")
    assert (submit.status_code, submit.json()["code"]) == (503, "storage_unavailable")
    assert submit.headers["Retry-After"]
    assert hosts.answers["waiting"].json()["status"] == "running", (
        "no row tells of results that nobody can see"
    )
    assert hosts.client.get("/readyz").json()["checks"]["storage"] == "ok"


def test_what_was_made_on_one_host_is_answered_on_another(hosts: Hosts) -> None:
    client = hosts.client
    job = client.get(f"/jobs/{hosts.job}").json()
    assert job["status"] == "succeeded", job["error"]

    picture = next(iter(make_files(1).values()))
    answer = client.post("/predict?product=squares", content=picture, headers={"content-type": "image/png"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["id"] == job["model"]

    names = {log["name"] for log in client.get(f"/jobs/{hosts.job}/logs").json()}
    assert names == {"training_result.log", "training_result_step.log", "test_result.log"}
    assert (
        len(client.get(f"/jobs/{hosts.job}/logs/training_result_step.log").text.splitlines())
        == job["progress"]["step"]
    )

    assert client.get(f"/jobs/{hosts.job}/evaluation").json()["items"] > 0
    rows = client.get(f"/jobs/{hosts.job}/evaluation/predictions").text.splitlines()
    assert rows[0].startswith("item,name,label,predicted")

    assert client.get(f"/datasets/{hosts.dataset}/report").status_code == 200
    items = client.get(f"/datasets/{hosts.dataset}/items?job={hosts.job}").json()["data"]
    assert {item["split"] for item in items} == {"train", "valid", "test"}
    shown = client.get(f"/datasets/{hosts.dataset}/items/{items[0]['id']}/image")
    assert shown.status_code == 200
    assert shown.content in make_files().values()


def test_a_model_damaged_in_a_home_folder_is_fetched_anew(hosts: Hosts) -> None:
    picture, headers = next(iter(make_files(1).values())), {"content-type": "image/png"}
    settings = hosts.settings.model_copy(update={"home": hosts.root / "damaged"})
    with local_client(settings, raise_server_exceptions=False) as client:
        (folder,) = hosts.api.storage.remote.list_names(hosts.api.storage.models / hosts.model()["id"])
        copy = settings.home / "models" / hosts.model()["id"] / folder
        copy.mkdir(parents=True)
        (copy / "manifest.json").write_text("{}")
        answer = client.post(f"/predict?job={hosts.job}", content=picture, headers=headers)
    assert answer.status_code == 200, answer.text
    assert (copy / "model.tflite").exists()


def test_what_a_job_needs_no_more_is_in_the_storage_no_more(hosts: Hosts) -> None:
    store = store_of(hosts.api.storage)
    assert store.list_keys("scratch") == {}
    assert store.list_keys(f"jobs/{hosts.job}/checkpoints") == {}
    models = hosts.api.storage.models / hosts.model()["id"]
    assert len(hosts.api.storage.remote.list_names(models)) == 1


def test_a_host_that_has_nothing_evaluates_and_exports(hosts: Hosts) -> None:
    again = hosts.client.post(f"/jobs/{hosts.job}/evaluations").json()["id"]
    body = {"format": "folders", "job": hosts.job}
    export = hosts.client.post(f"/datasets/{hosts.dataset}/exports", json=body).json()["id"]
    run_queued(hosts.host("fresh"))
    for job in (again, export):
        ended = hosts.client.get(f"/jobs/{job}").json()
        assert ended["status"] == "succeeded", ended["error"]
    packed = hosts.client.get(f"/datasets/{hosts.dataset}/exports/{export}").content
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert len(tar.getnames()) == len(make_files())


def test_a_host_that_has_nothing_exports_and_imports_models(hosts: Hosts) -> None:
    client, model = hosts.client, hosts.model()
    sent = client.get(f"/models/{model['id']}/artifact").content
    export = client.post(f"/models/{model['id']}/exports", json={"format": "saved_model"}).json()["id"]
    zipped = {"content-type": "application/zip"}
    taken = client.post("/products/squares/models", content=sent, headers=zipped).json()["id"]
    run_queued(hosts.host("new"))
    for job in (export, taken):
        ended = client.get(f"/jobs/{job}").json()
        assert ended["status"] == "succeeded", ended["error"]
    path = f"/models/{model['id']}/artifact?format=saved_model"
    made = client.get(path)
    assert made.status_code == 200, made.text
    [copy] = (hosts.api.settings.home / "models" / model["id"] / "exports").glob("*/*")
    copy.write_bytes(b"damaged")
    assert client.get(path).content == made.content
    imported = client.get(f"/jobs/{taken}").json()["model"]
    picture, headers = next(iter(make_files(1).values())), {"content-type": "image/png"}
    answers = [
        client.post(f"/predict?model={one}", content=picture, headers=headers).json()["predictions"]
        for one in (model["id"], imported)
    ]
    assert answers[0] == answers[1]
    assert client.delete(f"/jobs/{taken}").status_code == 204
    assert hosts.api.storage.remote.list_names(hosts.api.storage.models / imported) == []


def _start(hosts: Hosts, name: str) -> subprocess.Popen[bytes]:
    with (hosts.root / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", RUN_ONE, hosts.job],
            env=hosts.environment(name),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait(ready: Callable[[], bool], what: str, process: subprocess.Popen[bytes]) -> None:
    wait_for(ready, 100, what, alive=lambda: process.poll() is None)


def _without_speed(log: str) -> list[str]:
    return [line.rpartition(", ")[0] for line in log.splitlines()]
