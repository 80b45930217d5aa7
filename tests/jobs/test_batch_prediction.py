"""Predictions over many images on hosts that share a storage: lost on one, gone on with on another."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from app.context import AppContext
from app.jobs import claims
from app.models import TrainedModel
from app.services import uploads
from app.workers.supervisor import Supervisor
from tests.clients import local_client
from tests.pictures import make_files, make_zip
from tests.running import all_events, run_queued
from tests.services.served_models import MakeArtifact, add_served_model


def another_host(context: AppContext, home: Path) -> AppContext:
    database = context.settings.resolved_database_url
    changes = {"home": home, "database_url": database, "checkpoint_seconds": 1e-6}
    return AppContext.open(context.settings.model_copy(update=changes))


def test_another_host_goes_on_where_one_was_lost_and_the_results_are_the_same_bytes(
    shared_context: AppContext, make_artifact: MakeArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = shared_context.storage
    model = add_served_model(shared_context, make_artifact, alias="champion")
    with shared_context.db.read() as session:
        storage.remote.upload(storage.absolute(session.get_one(TrainedModel, model).folder))
    archive = make_zip(make_files(15))
    monkeypatch.setenv("LOUPE_FAILPOINTS", str(tmp_path / "failpoints"))
    (tmp_path / "failpoints").mkdir()
    lost, other = (another_host(shared_context, tmp_path / name) for name in ("lost", "other"))
    with local_client(shared_context.settings) as client, closing(lost), closing(other):

        def send() -> str:
            job: str = client.post("/predictions?product=squares", files={"file": archive}).json()["id"]
            uploads.send_uploads(shared_context)
            return job

        undisturbed = send()
        run_queued(other)
        job = send()
        (tmp_path / "failpoints/predict.image").write_text("skip\n" * 20 + "kill\n")
        claim = claims.claim(lost, job, "lost")
        assert claim is not None
        Supervisor(lost, claim, threading.Event()).run()
        assert client.get(f"/predictions/{job}").json()["status"] == "queued"
        run_queued(other)

        [resumed] = [event["data"] for event in all_events(client, job) if event["type"] == "resumed"]
        assert resumed["step"] > 0
        assert str(tmp_path / "other") in resumed["from"]
        known, again = (client.get(f"/predictions/{one}/results") for one in (undisturbed, job))
        assert known.content == again.content
        assert known.content.count(b"\n") == 45
        assert client.delete(f"/jobs/{job}").status_code == 204
        assert storage.remote.list_whole(storage.job(job)) == []
