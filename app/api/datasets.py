"""``/products/{product}/datasets`` and ``/datasets``"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, status
from fastapi.responses import JSONResponse

from app.api.answers import accepted
from app.api.archives import describe_body
from app.api.dependencies import After, ContextDep, Force, Limit
from app.api.routes import CheckedRoute
from app.api.uploads import receive_dataset
from app.api.waiting import WaitForImport, wait_until
from app.context import AppContext
from app.schemas.archive_kinds import READABLE_ARCHIVES
from app.schemas.common import Page
from app.schemas.dataset import Dataset, DatasetReport, ImportSource
from app.schemas.import_choices import ImportChoices
from app.services import datasets, deletions
from app.services.idempotency import Answer

router = APIRouter(tags=["datasets"], route_class=CheckedRoute)

ARCHIVE = {"type": "string", "format": "binary", "description": f"{READABLE_ARCHIVES} of class folders."}
CHOICES = ImportChoices.model_json_schema()["properties"]


@router.post(
    "/products/{product}/datasets",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=Dataset,
    openapi_extra=describe_body(ARCHIVE, CHOICES, otherwise=ImportSource.model_json_schema()),
)
async def import_dataset(
    product: str, request: Request, context: ContextDep, wait: WaitForImport = 0
) -> JSONResponse:
    """Import images: an archive of class folders, split or not; a folder the server can reach; or an upload
    that came in pieces (`POST /uploads`).
    """
    answer = await receive_dataset(context, product, request)
    if wait:
        found = await _wait_for_import(request, context, answer.body["id"], wait)
        answer = Answer(found.model_dump(mode="json"), answer.location)
    return accepted(answer)


@router.get("/products/{product}/datasets")
def list_datasets(product: str, context: ContextDep, limit: Limit = 50, after: After = None) -> Page[Dataset]:
    """The datasets of a product."""
    return datasets.list_datasets(context, product, limit=limit, after=after)


@router.get("/datasets/{dataset}")
async def get_dataset(
    dataset: str, context: ContextDep, request: Request, wait: WaitForImport = 0
) -> Dataset:
    """One dataset, with the state of its import."""
    return await _wait_for_import(request, context, dataset, wait)


async def _wait_for_import(request: Request, context: AppContext, dataset: str, seconds: float) -> Dataset:
    return await wait_until(
        request,
        seconds,
        lambda: datasets.get_dataset(context, dataset),
        lambda found: found.status != "importing",
    )


@router.delete("/datasets/{dataset}", status_code=status.HTTP_204_NO_CONTENT)
def delete_dataset(dataset: str, context: ContextDep, force: Force = False) -> Response:
    """Delete a dataset. A 409 names what depends on it: jobs, models, evaluations; `force` deletes them too.

    Also with `force` nothing is deleted while a job on it has not ended or an alias points at one of its
    models.
    """
    deletions.delete_dataset(context, dataset, force=force)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.get("/datasets/{dataset}/report")
def get_report(dataset: str, context: ContextDep) -> DatasetReport:
    """What the import saw: counts and sizes per class, files left out, duplicates, conflicts, and advice."""
    return datasets.get_report(context, dataset)
