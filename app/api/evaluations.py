"""``/jobs/{job}/evaluations`` and ``/jobs/{job}/evaluation``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, status
from fastapi.responses import JSONResponse, Response, StreamingResponse

from app.api.answers import accepted
from app.api.dependencies import ContextDep, IdempotentDep
from app.api.file_answers import FileAnswer
from app.api.routes import CheckedRoute
from app.csv_cells import holds_formulas, safe_lines
from app.schemas.evaluation import Evaluation, EvaluationCreate
from app.schemas.job import Job
from app.services import evaluations

CSV = "text/csv"

router = APIRouter(prefix="/jobs/{job}", tags=["evaluations"], route_class=CheckedRoute)

DatasetQuery = Annotated[
    str | None, Query(description="The evaluation on this dataset instead of the final test.")
]


@router.post("/evaluations", status_code=status.HTTP_202_ACCEPTED, response_model=Job)
def create_evaluation(
    job: str, context: ContextDep, idempotent: IdempotentDep, request: EvaluationCreate | None = None
) -> JSONResponse:
    """Evaluate the job's model again, on its final test's images or on another dataset of the product."""
    return accepted(
        evaluations.create_evaluation(context, job, request or EvaluationCreate(dataset=None), idempotent)
    )


@router.get("/evaluation")
def get_evaluation(job: str, context: ContextDep, dataset: DatasetQuery = None) -> Evaluation:
    """The full report: metrics with intervals, scores per class, confusion matrix, mistakes."""
    return evaluations.get_evaluation(context, job, dataset)


@router.get("/evaluation/predictions", response_class=FileAnswer)
def get_predictions(job: str, context: ContextDep, dataset: DatasetQuery = None) -> Response:
    """One CSV row per image: item, label, and the served probability of every class.

    A name that a spreadsheet would compute, such as `=1+1`, has an apostrophe before it.
    """
    path = evaluations.get_predictions_file(context, job, dataset)
    if holds_formulas(path):
        return StreamingResponse(safe_lines(path), media_type=CSV)
    return FileAnswer(path, media_type=CSV)
