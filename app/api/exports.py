"""``/datasets/{dataset}/exports``"""

from __future__ import annotations

from fastapi import APIRouter, status
from fastapi.responses import JSONResponse

from app.api.answers import accepted
from app.api.dependencies import ContextDep, IdempotentDep
from app.api.file_answers import FileAnswer
from app.api.routes import CheckedRoute
from app.schemas.export import ExportCreate
from app.schemas.job import Job
from app.services import exports

router = APIRouter(prefix="/datasets/{dataset}/exports", tags=["datasets"], route_class=CheckedRoute)


@router.post("", status_code=status.HTTP_202_ACCEPTED, response_model=Job)
def create_export(
    dataset: str, request: ExportCreate, context: ContextDep, idempotent: IdempotentDep
) -> JSONResponse:
    """Write the dataset to a tar: original files in folders, or TFRecord shards."""
    return accepted(exports.create_export(context, dataset, request, idempotent))


@router.get("/{job}", response_class=FileAnswer)
def get_export(dataset: str, job: str, context: ContextDep) -> FileAnswer:
    """The tar of a finished export."""
    path = exports.get_export_file(context, dataset, job)
    return FileAnswer(path, media_type="application/x-tar", filename=f"{dataset}.tar")
