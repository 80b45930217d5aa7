"""``/datasets/{dataset}/items``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.dependencies import After, ContextDep, Limit
from app.api.file_answers import ContentAnswer
from app.api.routes import CheckedRoute
from app.datasets.manifest import Split
from app.schemas.common import Page
from app.schemas.dataset import DatasetItem
from app.services import dataset_items
from app.services.dataset_items import ItemFilter

router = APIRouter(prefix="/datasets/{dataset}/items", tags=["datasets"], route_class=CheckedRoute)


@router.get("")
def list_items(
    dataset: str,
    context: ContextDep,
    job: Annotated[str | None, Query(description="Show each image's split in this training.")] = None,
    label: Annotated[str | None, Query(description="Only images of this class.")] = None,
    split: Annotated[
        Split | None,
        Query(description="Only images of this split: of `job`, else of the folders they came in."),
    ] = None,
    group: Annotated[str | None, Query(description="Only images of this group.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[DatasetItem]:
    """The images of a dataset, those for which all that is asked for holds."""
    wanted = ItemFilter(label=label, split=split, group=group)
    return dataset_items.list_items(context, dataset, wanted, job_id=job, limit=limit, after=after)


@router.get("/{item}/image", response_class=ContentAnswer)
def get_item_image(dataset: str, item: str, context: ContextDep) -> ContentAnswer:
    """The original image, byte for byte."""
    path, picture = dataset_items.get_item_image(context, dataset, item)
    return ContentAnswer(
        path,
        media_type=f"image/{'jpeg' if picture.format == 'mpo' else picture.format}",
        headers={"ETag": f'"{picture.sha256}"'},
    )
