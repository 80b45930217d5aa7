"""``/datasets/{dataset}/versions``, ``/datasets/{dataset}/diff`` and ``/datasets/{dataset}/examinations``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, status
from fastapi.responses import JSONResponse

from app.api.answers import accepted
from app.api.dependencies import After, ContextDep, IdempotentDep, Limit
from app.api.routes import CheckedRoute
from app.datasets.differences import Change
from app.schemas.dataset import Dataset
from app.schemas.dataset_diff import DatasetDiff
from app.schemas.dataset_edits import DatasetRevision
from app.schemas.examination import ExaminationReport
from app.schemas.job import Job
from app.services import dataset_revisions, examinations

router = APIRouter(prefix="/datasets/{dataset}", tags=["datasets"], route_class=CheckedRoute)


@router.post("/versions", status_code=status.HTTP_202_ACCEPTED, response_model=Dataset)
def create_version(
    dataset: str, request: DatasetRevision, context: ContextDep, idempotent: IdempotentDep
) -> JSONResponse:
    """Make a new dataset of this one: other datasets join, images leave or change their class, classes merge.

    No image is copied, and this dataset stays as it is.
    """
    return accepted(dataset_revisions.create_version(context, dataset, request, idempotent))


@router.post("/examinations", status_code=status.HTTP_202_ACCEPTED, response_model=Job)
def create_examination(dataset: str, context: ContextDep, idempotent: IdempotentDep) -> JSONResponse:
    """Look at all images of the dataset: which show the same thing, which labels look wrong, what is odd.

    An import has done it already, unless a setting says no. `examination` of the dataset says in numbers what
    was found.
    """
    return accepted(examinations.create_examination(context, dataset, idempotent))


@router.get("/examination")
def get_examination(dataset: str, context: ContextDep) -> ExaminationReport:
    """What the examination found: images that show the same thing, labels that look wrong, images that look
    like no other of their class."""
    return examinations.get_report(context, dataset)


@router.get("/diff/{other}")
def compare_datasets(
    dataset: str,
    other: str,
    context: ContextDep,
    change: Annotated[Change | None, Query(description="Only images that differ in this way.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> DatasetDiff:
    """What became of the images of this dataset in another one: added, removed, relabelled, moved."""
    return dataset_revisions.compare_datasets(
        context, dataset, other, change=change, limit=limit, after=after
    )
