"""What the kinds of jobs that examine a dataset have in common."""

from __future__ import annotations

from app.context import AppContext
from app.datasets.spec import ExaminationTools
from app.host.files import make_folder


def examination_tools(context: AppContext, job_id: str) -> ExaminationTools:
    """Where the child finds what it examines with."""
    storage = context.storage
    make_folder(storage.job_checkpoints(job_id))
    return ExaminationTools(
        extractor=storage.extractor, weights_root=storage.weights, partial=storage.job_vectors(job_id)
    )


def tools_of_import(context: AppContext, job_id: str) -> ExaminationTools | None:
    """The same for a job that makes a dataset; None where imports are not examined."""
    return examination_tools(context, job_id) if context.settings.examine_imports else None
