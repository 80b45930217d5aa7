"""``/jobs/{job}/evaluations`` and ``/jobs/{job}/evaluation``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, status
from fastapi.responses import JSONResponse, Response, StreamingResponse

from app.api.answers import accepted
from app.api.dependencies import After, ContextDep, IdempotentDep, Limit
from app.api.file_answers import FileAnswer
from app.api.routes import CheckedRoute
from app.csv_cells import holds_formulas, safe_lines
from app.evaluation.page.policy import POLICY
from app.schemas.common import Page
from app.schemas.evaluation import Evaluation, EvaluationCreate, EvaluationCurves, EvaluationExample
from app.schemas.job import Job
from app.services import evaluation_analyses, evaluation_pages, evaluations

CSV = "text/csv"
HTML = "text/html; charset=utf-8"

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
        evaluations.create_evaluation(
            context, job, request or EvaluationCreate(dataset=None, include_trained=False), idempotent
        )
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


@router.get("/evaluation/curves")
def get_curves(job: str, context: ContextDep, dataset: DatasetQuery = None) -> EvaluationCurves:
    """ROC, precision against recall, risk against coverage, and reliability, with areas.

    The first request of an evaluation takes seconds: the curves are made then, and kept.
    """
    return evaluation_analyses.get_curves(context, job, dataset)


@router.get("/evaluation/examples")
def list_examples(
    job: str,
    context: ContextDep,
    dataset: DatasetQuery = None,
    true: Annotated[str | None, Query(description="Only images of this class.")] = None,
    predicted: Annotated[str | None, Query(description="Only images that were answered with it.")] = None,
    right: Annotated[
        bool | None, Query(description="Only images that were answered rightly; false: only mistakes.")
    ] = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[EvaluationExample]:
    """The images of one cell of the confusion matrix, or of a row or a column, the surest answer first."""
    return evaluation_analyses.list_examples(
        context, job, dataset, true=true, predicted=predicted, is_right=right, limit=limit, after=after
    )


@router.get(
    "/evaluation/report",
    response_class=FileAnswer,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
def get_page(job: str, context: ContextDep, dataset: DatasetQuery = None) -> Response:
    """The evaluation as one HTML file that needs no network and no script: to read, to print, to pass on.

    The first request of an evaluation takes seconds: the page is made then, and kept.
    """
    headers = {
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'inline; filename="report-{job}.html"',
    }
    return FileAnswer(evaluation_pages.get_page(context, job, dataset), media_type=HTML, headers=headers)
