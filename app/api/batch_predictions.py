"""``/predictions``"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, status
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from app.api.answers import accepted
from app.api.archives import describe_body, received_archive
from app.api.choices import merge_choices
from app.api.dependencies import ContextDep, scope_of
from app.api.file_answers import ContentAnswer
from app.api.invalid_requests import invalid_body
from app.api.routes import JSON, CheckedRoute, media_type_of
from app.api.scopes import READ
from app.context import AppContext
from app.schemas.archive_kinds import READABLE_ARCHIVES
from app.schemas.batch_prediction import (
    ArchivePrediction,
    BatchPrediction,
    DatasetPrediction,
    choices_of,
)
from app.services import batch_predictions
from app.services.idempotency import Answer, IdempotentRequest
from app.services.trained_models import ModelChoice

router = APIRouter(prefix="/predictions", tags=["predictions"], route_class=CheckedRoute)

JSON_LINES, CSV = "application/jsonl", "text/csv"
MEDIA_TYPE = {"jsonl": JSON_LINES, "csv": CSV}
ARCHIVE = {"type": "string", "format": "binary", "description": f"{READABLE_ARCHIVES} of images."}
CHOICES = choices_of(ArchivePrediction)


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=BatchPrediction,
    openapi_extra=describe_body(ARCHIVE, CHOICES, otherwise=DatasetPrediction.model_json_schema()),
)
async def create_batch(request: Request, context: ContextDep) -> JSONResponse:
    """Classify all images of a dataset, or of an archive, by one model; workers do it as a job."""
    if media_type_of(request) == JSON:
        return accepted(await _from_dataset(context, request))
    return accepted(await _from_archive(context, request))


@router.get("/{job}")
def get_batch(job: str, context: ContextDep) -> BatchPrediction:
    """How the predictions go, by which model, and what came out."""
    return batch_predictions.get_batch(context, job)


@router.get(
    "/{job}/results",
    response_class=ContentAnswer,
    responses={200: {"content": {kind: {"schema": {"type": "string"}} for kind in (JSON_LINES, CSV)}}},
)
def get_results(
    job: str,
    context: ContextDep,
    form: Annotated[
        Literal["jsonl", "csv"], Query(alias="format", description="JSON Lines or CSV.")
    ] = "jsonl",
) -> ContentAnswer:
    """A line for each image in the order of the archive or dataset: its answer, or why there is none.

    In CSV, a name that a spreadsheet would compute, such as `=1+1`, has an apostrophe before it.
    """
    path, sha256 = batch_predictions.get_results_file(context, job, form)
    return ContentAnswer(path, media_type=MEDIA_TYPE[form], headers={"ETag": f'"{sha256}"'})


@router.get(
    "/{job}/skipped",
    response_class=ContentAnswer,
    responses={200: {"content": {JSON_LINES: {"schema": {"type": "string"}}}}},
)
def get_skipped(job: str, context: ContextDep) -> ContentAnswer:
    """The files of the archive that are no images, each with the reason, as JSON Lines."""
    path, sha256 = batch_predictions.get_skipped_file(context, job)
    return ContentAnswer(path, media_type=JSON_LINES, headers={"ETag": f'"{sha256}"'})


async def _from_dataset(context: AppContext, request: Request) -> Answer:
    # The results have the names of the images, which a key that may only predict is not shown.
    READ.check(request.state.caller)
    body = await request.body()
    try:
        asked = DatasetPrediction.model_validate_json(body.removeprefix(BOM_UTF8))
        in_body = asked.model_dump(include=set(CHOICES), exclude_unset=True, exclude_none=True)
        merged = merge_choices(request, CHOICES, {name: str(value) for name, value in in_body.items()})
        asked = DatasetPrediction.model_validate({"dataset": asked.dataset, **merged})
    except ValidationError as error:
        raise invalid_body(error, DatasetPrediction) from error
    key = request.headers.get("idempotency-key")
    idempotent = IdempotentRequest.of(scope_of(request), key, body + request.url.query.encode())
    return await run_in_threadpool(batch_predictions.predict_dataset, context, asked, idempotent)


async def _from_archive(context: AppContext, request: Request) -> Answer:
    async def read_choices(fields: Mapping[str, Any]) -> tuple[ArchivePrediction, ModelChoice]:
        try:
            asked = ArchivePrediction.model_validate(merge_choices(request, CHOICES, fields))
        except ValidationError as error:
            raise invalid_body(error, ArchivePrediction) from error
        return asked, await run_in_threadpool(batch_predictions.choose, context, asked)

    async with received_archive(context, request, CHOICES, read_choices) as archive:
        asked, choice = archive.choices
        idempotent = archive.idempotent(request, asked.model_dump_json())
        return await run_in_threadpool(
            batch_predictions.predict_upload, context, asked, choice, archive.path, archive.name, idempotent
        )
