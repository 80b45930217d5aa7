"""Exports of a dataset as a file."""

from __future__ import annotations

from typing import Any

from app.context import AppContext
from app.jobs.claims import Claim, complete, hold_to_finish


def finish_export(context: AppContext, claim: Claim, result: dict[str, Any]) -> None:
    """The export's file lies in the job's folder."""
    with context.db.write() as session:
        if (job := hold_to_finish(session, claim)) is not None:
            job.result = result
            complete(session, job)
