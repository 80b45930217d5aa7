"""Imports of a dataset."""

from __future__ import annotations

from typing import Any

from app.context import AppContext
from app.jobs.claims import Claim, complete, hold_to_finish
from app.jobs.waiting import find_ready
from app.models import Dataset
from app.models.base import utc_now


def finish_import(context: AppContext, claim: Claim, result: dict[str, Any]) -> None:
    """The dataset is ready; its folder was published by the import itself, under the dataset's id.

    Jobs that waited for it are announced.
    """
    with context.db.write() as session:
        if (job := hold_to_finish(session, claim)) is None:
            return
        dataset = session.get_one(Dataset, job.dataset_id)
        dataset.status = "ready"
        dataset.digest = result["digest"]
        dataset.classes = result["classes"]
        dataset.counts = result["counts"]
        dataset.items = result["items"]
        dataset.skipped = result["skipped"]
        dataset.ready_at = utc_now()
        job.result = result
        complete(session, job)
        waiting = find_ready(session, dataset)
    for message in waiting:
        context.queue.enqueue(*message)
