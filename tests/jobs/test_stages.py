"""What a job counts is of the stage that it is in; a queued one has a place."""

from __future__ import annotations

from typing import get_args

import pytest

from app.context import AppContext
from app.jobs import claims, progress
from app.models import Dataset, Job
from app.schemas.job_kinds import JobStage
from app.schemas.progress_lines import ProgressLine, StageLine
from app.services import jobs
from tests.services.rows import add_job, add_product, change_job, plan, step


@pytest.mark.parametrize("stage", [stage for stage in get_args(JobStage) if stage != "preparing"])
def test_what_a_stage_has_counted_does_not_stand_as_the_next_ones(context: AppContext, stage: str) -> None:
    job = add_job(context)
    claim = claims.claim(context, job, "a")
    assert claim is not None
    counted = ProgressLine(done=7, total=9, images_per_second=3.0, eta_seconds=2.0)
    progress.report(context, claim, [plan(2), step(1), counted])
    assert jobs.get_job(context, job).progress.done == 7

    progress.report(context, claim, [StageLine(stage=stage)])

    shown = jobs.get_job(context, job).progress
    assert (shown.done, shown.total, shown.images_per_second, shown.eta_seconds) == (None,) * 4
    assert shown.fraction > 0, "the steps that are trained stay trained"

    progress.report(context, claim, [ProgressLine(done=1, total=2), StageLine(stage=stage)])
    assert jobs.get_job(context, job).progress.done == 1, "the same stage, said again"
    change_job(context, job, status="queued")
    assert claims.claim(context, job, "b") is not None
    assert jobs.get_job(context, job).progress.done is None


def test_a_queued_job_knows_its_place_among_those_of_its_workers(any_context: AppContext) -> None:
    product, dataset = add_product(any_context)
    ids = {"product_id": product, "dataset_id": dataset}
    first, second = add_job(any_context, **ids), add_job(any_context, device="cpu", **ids)
    task = add_job(any_context, kind="export", **ids)
    waiting = add_job(any_context)
    with any_context.db.write() as session:
        row = session.get_one(Job, waiting)
        session.get_one(Dataset, row.dataset).status = "importing"
    last = add_job(any_context, **ids)

    places = {job: jobs.get_job(any_context, job).place for job in (first, second, task, last)}
    assert places == {first: 1, second: 2, task: 1, last: 3}, "who waits for images is before nobody"
    assert claims.claim(any_context, first, "a") is not None
    assert [jobs.get_job(any_context, job).place for job in (first, second, last)] == [None, 1, 2]
