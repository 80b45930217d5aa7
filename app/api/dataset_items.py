"""``/datasets/{dataset}/items``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from app.api.dependencies import After, ContextDep, Limit, TurnsDep
from app.api.file_answers import FOR_EVER, ContentAnswer, is_known
from app.api.leaving import CLIENT_GONE, ClientGoneError, unless_gone
from app.api.routes import CheckedRoute
from app.context import AppContext
from app.datasets.manifest import Split
from app.images.thumbnails import LARGEST, MEDIA_TYPE, SMALLEST
from app.inference.turns import Turns
from app.schemas.common import Page
from app.schemas.dataset import DatasetItem
from app.services import dataset_items
from app.services.dataset_items import ItemFilter
from app.services.similar_images import rank_by_item
from app.services.thumbnails import Thumbnail, make_thumbnail, plan_thumbnail

router = APIRouter(prefix="/datasets/{dataset}/items", tags=["datasets"], route_class=CheckedRoute)


@router.get("")
async def list_items(
    dataset: str,
    context: ContextDep,
    turns: TurnsDep,
    job: Annotated[str | None, Query(description="Show each image's split in this training.")] = None,
    label: Annotated[str | None, Query(description="Only images of this class.")] = None,
    split: Annotated[
        Split | None,
        Query(description="Only images of this split: of `job`, else of the folders they came in."),
    ] = None,
    group: Annotated[str | None, Query(description="Only images of this group.")] = None,
    near_group: Annotated[
        str | None, Query(description="Only images that show the same thing: of this near-duplicate group.")
    ] = None,
    suspect: Annotated[
        bool | None, Query(description="Only images whose label looks wrong; false: only the others.")
    ] = None,
    outlier: Annotated[
        bool | None,
        Query(description="Only images that look like no other of their class; false: only the others."),
    ] = None,
    similar_to: Annotated[
        str | None,
        Query(description="The images that look most like this one first. The dataset must be examined."),
    ] = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[DatasetItem]:
    """The images of a dataset, those for which all that is asked for holds."""
    wanted = ItemFilter(label, split, group, near_group, suspect, outlier)
    ranking = None if similar_to is None else await rank_by_item(context, turns, dataset, similar_to)
    return await run_in_threadpool(
        dataset_items.list_items,
        context,
        dataset,
        wanted,
        job_id=job,
        limit=limit,
        after=after,
        ranking=ranking,
    )


@router.get(
    "/{item}/image",
    response_class=ContentAnswer,
    responses={
        200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "The client has it: `If-None-Match` names its `ETag`."},
    },
)
async def get_item_image(
    dataset: str,
    item: str,
    request: Request,
    context: ContextDep,
    turns: TurnsDep,
    size: Annotated[
        int | None,
        Query(ge=SMALLEST, le=LARGEST, description="A JPEG whose longer side has at most so many pixels."),
    ] = None,
) -> Response:
    """The original image, byte for byte; with `size` a thumbnail: upright, its transparency on white."""
    image = await run_in_threadpool(dataset_items.get_item_image, context, dataset, item)
    if size is not None:
        return await _answer_thumbnail(request, context, turns, plan_thumbnail(context, image, size))
    return ContentAnswer(
        image.path,
        media_type=f"image/{'jpeg' if image.item.format == 'mpo' else image.item.format}",
        headers={"ETag": f'"{image.item.sha256}"', "Cache-Control": FOR_EVER},
    )


async def _answer_thumbnail(
    request: Request, context: AppContext, turns: Turns, thumbnail: Thumbnail
) -> Response:
    headers = {"ETag": f'"{thumbnail.digest}"', "Cache-Control": FOR_EVER}
    if is_known(request.headers, headers["ETag"]):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    try:
        data = await unless_gone(request, make_thumbnail(context, turns, thumbnail))
    except ClientGoneError:
        return Response(status_code=CLIENT_GONE)
    return Response(data, media_type=MEDIA_TYPE, headers=headers)
