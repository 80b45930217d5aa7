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
from app.schemas.dataset import DatasetItem, DatasetItemPage
from app.services import dataset_items
from app.services.item_selections import ItemFilter
from app.services.similar_images import rank_by_item
from app.services.thumbnails import Thumbnail, make_thumbnail, plan_thumbnail

MOST_ITEMS, MOST_START = 100, 1_000_000_000

router = APIRouter(prefix="/datasets/{dataset}/items", tags=["datasets"], route_class=CheckedRoute)


@router.get("")
async def list_items(
    dataset: str,
    context: ContextDep,
    turns: TurnsDep,
    label: Annotated[
        list[str],
        Query(default_factory=list, description="Only images of this class; several: of any of them."),
    ],
    item: Annotated[
        list[str],
        Query(default_factory=list, max_length=MOST_ITEMS, description="Only these images, by their ids."),
    ],
    job: Annotated[str | None, Query(description="Show each image's split in this training.")] = None,
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
    copy: Annotated[
        bool | None,
        Query(description="Only images whose file is in the dataset more than once; false: only the others."),
    ] = None,
    near_duplicate: Annotated[
        bool | None,
        Query(description="Only images that show what another one shows too; false: only the others."),
    ] = None,
    contradiction: Annotated[
        bool | None,
        Query(
            description="Only images of which there are copies in another class, or, in an examined dataset, "
            "others that show the same thing; false: only the others."
        ),
    ] = None,
    similar_to: Annotated[
        str | None,
        Query(description="The images that look most like this one first. The dataset must be examined."),
    ] = None,
    limit: Limit = 50,
    after: After = None,
    start: Annotated[
        int | None,
        Query(
            ge=0,
            le=MOST_START,
            description="Begin at this place of the list, counted from 0, in place of `after`. `total` says "
            "how long it is.",
        ),
    ] = None,
) -> DatasetItemPage:
    """The images of a dataset, those for which all that is asked for holds.

    They come by class and name. With `copy`, `near_duplicate` or `contradiction` those that belong together
    are side by side; with `similar_to` the most alike are first.
    """
    wanted = ItemFilter(
        labels=tuple(label),
        items=tuple(item),
        split=split,
        group=group,
        near_group=near_group,
        suspect=suspect,
        outlier=outlier,
        copy=copy,
        near_duplicate=near_duplicate,
        contradiction=contradiction,
    )
    ranking = None if similar_to is None else await rank_by_item(context, turns, dataset, similar_to)
    return await run_in_threadpool(
        dataset_items.list_items,
        context,
        dataset,
        wanted,
        job_id=job,
        limit=limit,
        after=after,
        start=start,
        ranking=ranking,
    )


@router.get("/{item}")
def get_item(
    dataset: str,
    item: str,
    context: ContextDep,
    job: Annotated[str | None, Query(description="Show its split in this training.")] = None,
) -> DatasetItem:
    """One image: its class, its size, and what the examination found of it."""
    return dataset_items.get_item(context, dataset, item, job)


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
