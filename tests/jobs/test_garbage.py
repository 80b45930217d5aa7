"""What nobody needs goes, here and in the shared storage; what is young, or somebody's, stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from ulid import ULID

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.errors import ConflictError
from app.jobs import garbage
from app.models import Alias, AliasMove, Evaluation, IdempotencyKey, TrainedModel
from app.models.base import utc_now
from app.schemas.job import JobRetry
from app.services import evaluations, job_lifecycle, jobs, trained_models
from app.services.aliases import move_alias
from app.services.idempotency import Answer, IdempotentRequest, remember
from tests.services.rows import add_job, add_product, change_job, events, train
from tests.stores import store_of

LONG_AGO = 2 * garbage.SCRATCH_SECONDS


@pytest.fixture
def context(tmp_path: Path, settings: Settings) -> Iterator[AppContext]:
    (tmp_path / "shared").mkdir()
    context = AppContext.open(settings.model_copy(update={"storage_url": f"file://{tmp_path / 'shared'}"}))
    migrations.upgrade(context.db)
    yield context
    context.close()


def _name(prefix: str, age: float) -> str:
    return prefix + str(ULID.from_timestamp(time.time() - age)).lower()


def _put(context: AppContext, path: Path) -> Path:
    """A shared file, in a home where nobody needs it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    context.storage.remote.upload(path)
    return path


def _is_stored(context: AppContext, path: Path) -> bool:
    return store_of(context.storage).read(context.storage.relative(path)) is not None


def test_what_belongs_to_no_job_goes_once_it_is_old(context: AppContext) -> None:
    storage = context.storage
    folders = ((storage.jobs, "job_"), (storage.models, "mdl_"))
    old = [_put(context, folder / _name(prefix, LONG_AGO) / "x") for folder, prefix in folders]
    young = [_put(context, folder / _name(prefix, 60) / "x") for folder, prefix in folders]
    known = _put(context, storage.job(add_job(context)) / "split.json")
    garbage.clean_home(context)
    assert [path.exists() for path in (*old, *young, known)] == [False, False, True, True, True]
    garbage.clean_storage(context)
    assert [_is_stored(context, path) for path in (*old, *young, known)] == [False, False, True, True, True]


def test_an_ended_job_keeps_no_checkpoints_and_a_failed_one_does(context: AppContext) -> None:
    paths = {}
    for status in ("succeeded", "failed", "running"):
        job = add_job(context)
        change_job(context, job, status=status, finished_at=None if status == "running" else utc_now())
        paths[status] = _put(context, context.storage.job_checkpoints(job) / "0001" / "checkpoint-000001")
    garbage.clean_storage(context)
    stored = {status: _is_stored(context, path) for status, path in paths.items()}
    assert stored == {"succeeded": False, "failed": True, "running": True}


def test_an_upload_that_no_import_waits_for_goes(context: AppContext) -> None:
    scratch = context.storage.scratch
    ages = (LONG_AGO, 5, LONG_AGO - 9, LONG_AGO - 18, LONG_AGO - 27)
    lost, young, needed, bad, good = (_put(context, scratch / _name("upload-", age)) for age in ages)
    ends = (
        (needed, "queued", None),
        (bad, "failed", {"code": "bad_archive", "retryable": False}),
        (good, "failed", {"code": "disk_full", "retryable": True}),
    )
    for upload, status, error in ends:
        payload = {"source": context.storage.relative(upload), "is_upload": True}
        job = add_job(context, kind="import", payload=payload)
        change_job(context, job, status=status, error=error)
    garbage.clean_storage(context)
    stored = [_is_stored(context, path) for path in (lost, young, needed, bad, good)]
    assert stored == [False, True, True, False, True]


def test_an_upload_that_has_waited_for_the_storage_for_days_stays_here(context: AppContext) -> None:
    waiting, stored = (context.storage.upload() for _ in range(2))
    for upload in (waiting, stored):
        upload.write_text("x")
        os.utime(upload, (time.time() - LONG_AGO,) * 2)
        add_job(
            context, kind="import", payload={"source": context.storage.relative(upload), "is_upload": True}
        )
    context.storage.remote.upload(stored)
    garbage.clean_home(context)
    assert [waiting.exists(), stored.exists()] == [True, False]


@pytest.mark.parametrize("clean", [garbage.clean_home, garbage.clean_scratch])
def test_what_lay_in_scratch_for_days_goes(context: AppContext, clean: Callable[[AppContext], None]) -> None:
    old, young = context.storage.scratch / "pack-1", context.storage.scratch / "pack-2"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (time.time() - LONG_AGO,) * 2)
    clean(context)
    assert [old.exists(), young.exists()] == [False, True]


@pytest.mark.parametrize("is_old_row", [False, True])
def test_an_upload_that_was_cut_off_goes_on_one_host_too(settings: Settings, is_old_row: bool) -> None:
    with closing(AppContext.open(settings)) as alone:
        migrations.upgrade(alone.db)
        cut_off, waiting = alone.storage.upload(), alone.storage.upload()
        for path in (cut_off, waiting):
            path.write_text("x")
            os.utime(path, (time.time() - LONG_AGO,) * 2)
        source = str(waiting) if is_old_row else alone.storage.relative(waiting)
        add_job(alone, kind="import", payload={"source": source, "is_upload": True})
        garbage.clean_scratch(alone)
        assert [cut_off.exists(), waiting.exists()] == [False, True]


def test_an_idempotency_key_is_forgotten_after_its_days(context: AppContext) -> None:
    for key in ("old", "young"):
        request = IdempotentRequest("POST /products", key, "0" * 64)
        with context.db.write() as session:
            remember(session, request, 201, Answer({"key": key}, None))
    with context.db.write() as session:
        session.get_one(IdempotencyKey, ("POST /products", "old")).created_at = utc_now() - timedelta(days=8)
    garbage.forget_requests(context)
    with context.db.read() as session:
        assert session.scalars(select(IdempotencyKey.key)).all() == ["young"]


@dataclass
class Kept:
    """A product whose models fail their gate."""

    context: AppContext
    folder: Path
    product: str
    dataset: str

    def train(self, *, fails: bool = True) -> str:
        """The id of one model more."""
        gate = {"min_accuracy": 0.8 if fails else 0.0, "on_failure": "keep"}
        job = train(
            self.context, self.folder, product_id=self.product, dataset_id=self.dataset, gate_rules=gate
        )
        model = jobs.get_job(self.context, job.id).model
        assert model is not None
        return model

    def add_reader(self, model: str, kind: str, status: str) -> str:
        """The id of a job that evaluates the model or starts from it."""
        is_evaluation = kind == "evaluation"
        needs = {"payload": {"model": model}} if is_evaluation else {"hyperparameters": {"pretrained": model}}
        fields = {"kind": kind, "product_id": self.product, "dataset_id": self.dataset, "status": status}
        return add_job(self.context, **fields, **needs)

    def point(self, name: str, model: str) -> None:
        with self.context.db.write() as session:
            move_alias(session, name, session.get_one(TrainedModel, model), moved_by=None, reason=None)

    def age(self, model: str, days: float) -> None:
        with self.context.db.write() as session:
            session.get_one(TrainedModel, model).created_at = utc_now() - timedelta(days=days)

    def limit(self, **settings: object) -> None:
        self.context = replace(self.context, settings=self.context.settings.model_copy(update=settings))

    @property
    def models(self) -> list[str]:
        with self.context.db.read() as session:
            return list(session.scalars(select(TrainedModel.id).order_by(TrainedModel.version)))


@pytest.fixture
def kept(any_context: AppContext, tmp_path: Path) -> Kept:
    return Kept(any_context, tmp_path / "left", *add_product(any_context))


def test_of_too_many_failed_models_the_oldest_go_with_their_files_and_their_jobs_stay(kept: Kept) -> None:
    failed = [kept.train() for _ in range(4)]
    kept.limit(kept_models=2)
    folders = [kept.context.storage.models / model for model in failed]
    job = trained_models.get_model(kept.context, failed[0]).job

    assert sorted(garbage.remove_kept_models(kept.context)) == failed[:2]

    assert kept.models == failed[2:]
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    ended = jobs.get_job(kept.context, job)
    assert (ended.status, ended.model) == ("succeeded", None)
    assert ended.gate is not None
    assert ended.gate.reasons[-1] == f"The model {failed[0]} was removed since."
    assert events(kept.context, job, "model_removed") == [{"model": failed[0], "version": 1}]
    with kept.context.db.read() as session:
        evaluation = session.scalars(select(Evaluation).where(Evaluation.job_id == job)).one()
    assert evaluation.model_id is None
    assert evaluations.get_predictions_file(kept.context, job).is_file()
    with pytest.raises(ConflictError, match="has no model"):
        trained_models.choose_model(kept.context, product=None, job=job, model=None)
    assert garbage.remove_kept_models(kept.context) == []


def test_a_failed_model_goes_when_it_is_old_and_its_version_is_not_given_again(kept: Kept) -> None:
    old, young, newest = kept.train(), kept.train(), kept.train()
    kept.age(old, 31)
    kept.age(newest, 31)
    assert sorted(garbage.remove_kept_models(kept.context)) == [old, newest]
    assert kept.models == [young]
    assert trained_models.get_model(kept.context, kept.train()).version == 4


def test_a_model_that_passed_stays_whatever_its_age_and_so_does_one_of_an_older_worker(kept: Kept) -> None:
    passed, of_old_worker = kept.train(fails=False), kept.train()
    with kept.context.db.write() as session:
        session.get_one(TrainedModel, of_old_worker).passed_gate = None
    kept.limit(kept_models=0)
    for model in (passed, of_old_worker):
        kept.age(model, 1000)
    assert garbage.remove_kept_models(kept.context) == []


def test_a_failed_model_stays_while_an_alias_points_at_it_or_did_in_its_last_ten_moves(kept: Kept) -> None:
    first, second, third, now = (kept.train() for _ in range(4))
    kept.limit(kept_models=0)
    kept.point("canary", first)
    kept.point("canary", second)
    for _ in range(4):
        kept.point("canary", third)
        kept.point("canary", now)
    # Ten moves in all; of the last ten, the first one's own is one.
    assert garbage.remove_kept_models(kept.context) == []
    kept.point("canary", third)
    # Now the first is what the oldest of the last ten moved away from.
    assert garbage.remove_kept_models(kept.context) == []
    kept.point("canary", now)
    assert garbage.remove_kept_models(kept.context) == [first]


def test_an_alias_that_an_older_worker_moved_without_a_record_keeps_its_model(kept: Kept) -> None:
    failed = kept.train()
    kept.limit(kept_models=0)
    with kept.context.db.write() as session:
        session.add(Alias(product_id=kept.product, name="champion", model_id=failed))
    with kept.context.db.read() as session:
        assert session.scalars(select(AliasMove)).all() == []
    assert garbage.remove_kept_models(kept.context) == []


@pytest.mark.parametrize("kind", ["evaluation", "training"])
@pytest.mark.parametrize("status", ["queued", "running", "paused"])
def test_a_failed_model_stays_while_a_job_needs_it(kept: Kept, kind: str, status: str) -> None:
    failed = kept.train()
    kept.limit(kept_models=0)
    job = kept.add_reader(failed, kind, status)
    assert garbage.remove_kept_models(kept.context) == []
    change_job(kept.context, job, status="cancelled")
    assert garbage.remove_kept_models(kept.context) == [failed]


@pytest.mark.parametrize("kind", ["evaluation", "training"])
def test_a_failed_job_is_not_retried_once_its_model_is_gone(kept: Kept, kind: str) -> None:
    failed = kept.train()
    kept.limit(kept_models=0)
    job = kept.add_reader(failed, kind, "failed")
    assert garbage.remove_kept_models(kept.context) == [failed]
    with pytest.raises(ConflictError, match=f"Model {failed} was removed"):
        job_lifecycle.retry_job(kept.context, job, JobRetry())
    assert jobs.get_job(kept.context, job).status == "failed"
