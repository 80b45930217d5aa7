"""Models that failed their gate are kept for a while, and longer while somebody may want them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from app.context import AppContext
from app.errors import ConflictError
from app.jobs import kept_models
from app.models import Alias, AliasMove, Evaluation, TrainedModel
from app.models.base import utc_now
from app.schemas.job import JobRetry
from app.services import evaluations, job_lifecycle, jobs, trained_models
from app.services.aliases import move_alias
from tests.services.rows import add_job, add_product, change_job, events, train


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

    assert sorted(kept_models.remove_kept_models(kept.context)) == failed[:2]

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
    assert kept_models.remove_kept_models(kept.context) == []


def test_a_failed_model_goes_when_it_is_old_and_its_version_is_not_given_again(kept: Kept) -> None:
    old, young, newest = kept.train(), kept.train(), kept.train()
    kept.age(old, 31)
    kept.age(newest, 31)
    assert sorted(kept_models.remove_kept_models(kept.context)) == [old, newest]
    assert kept.models == [young]
    assert trained_models.get_model(kept.context, kept.train()).version == 4


def test_a_model_that_passed_stays_whatever_its_age_and_so_does_one_of_an_older_worker(kept: Kept) -> None:
    passed, of_old_worker = kept.train(fails=False), kept.train()
    with kept.context.db.write() as session:
        session.get_one(TrainedModel, of_old_worker).passed_gate = None
    kept.limit(kept_models=0)
    for model in (passed, of_old_worker):
        kept.age(model, 1000)
    assert kept_models.remove_kept_models(kept.context) == []


def test_a_failed_model_stays_while_an_alias_points_at_it_or_did_in_its_last_ten_moves(kept: Kept) -> None:
    first, second, third, now = (kept.train() for _ in range(4))
    kept.limit(kept_models=0)
    kept.point("canary", first)
    kept.point("canary", second)
    for _ in range(4):
        kept.point("canary", third)
        kept.point("canary", now)
    # Ten moves in all; of the last ten, the first one's own is one.
    assert kept_models.remove_kept_models(kept.context) == []
    kept.point("canary", third)
    # Now the first is what the oldest of the last ten moved away from.
    assert kept_models.remove_kept_models(kept.context) == []
    kept.point("canary", now)
    assert kept_models.remove_kept_models(kept.context) == [first]


def test_an_alias_that_an_older_worker_moved_without_a_record_keeps_its_model(kept: Kept) -> None:
    failed = kept.train()
    kept.limit(kept_models=0)
    with kept.context.db.write() as session:
        session.add(Alias(product_id=kept.product, name="champion", model_id=failed))
    with kept.context.db.read() as session:
        assert session.scalars(select(AliasMove)).all() == []
    assert kept_models.remove_kept_models(kept.context) == []


@pytest.mark.parametrize("kind", ["evaluation", "training"])
@pytest.mark.parametrize("status", ["queued", "running", "paused"])
def test_a_failed_model_stays_while_a_job_needs_it(kept: Kept, kind: str, status: str) -> None:
    failed = kept.train()
    kept.limit(kept_models=0)
    job = kept.add_reader(failed, kind, status)
    assert kept_models.remove_kept_models(kept.context) == []
    change_job(kept.context, job, status="cancelled")
    assert kept_models.remove_kept_models(kept.context) == [failed]


@pytest.mark.parametrize("kind", ["evaluation", "training"])
def test_a_failed_job_is_not_retried_once_its_model_is_gone(kept: Kept, kind: str) -> None:
    failed = kept.train()
    kept.limit(kept_models=0)
    job = kept.add_reader(failed, kind, "failed")
    assert kept_models.remove_kept_models(kept.context) == [failed]
    with pytest.raises(ConflictError, match=f"Model {failed} was removed"):
        job_lifecycle.retry_job(kept.context, job, JobRetry())
    assert jobs.get_job(kept.context, job).status == "failed"
