"""``POST /datasets/{dataset}/similar``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import UploadFile

from app.api.dependencies import ContextDep, TurnsDep
from app.api.forms import read_form
from app.api.leaving import CLIENT_GONE, ClientGoneError, unless_gone
from app.api.limits import take
from app.api.predict import PICTURE
from app.api.prediction_routes import SIMILAR_ROUTE
from app.api.routes import FORM, CheckedRoute, media_type_of
from app.context import AppContext
from app.errors import FieldError, InvalidRequestError
from app.schemas.dataset import SimilarImages
from app.schemas.limits import PREDICTIONS
from app.services.similar_images import find_similar

router = APIRouter(tags=["datasets"], route_class=CheckedRoute)


@router.post(
    SIMILAR_ROUTE,
    response_model=SimilarImages,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                FORM: {"schema": {"type": "object", "required": ["file"], "properties": {"file": PICTURE}}},
                "image/*": {"schema": PICTURE},
                "application/octet-stream": {"schema": PICTURE},
            },
        },
    },
)
async def find_similar_images(
    dataset: str,
    request: Request,
    context: ContextDep,
    turns: TurnsDep,
    limit: Annotated[int, Query(ge=1, le=100, description="How many images to return.")] = 10,
) -> SimilarImages | Response:
    """The images of a dataset that look most like the one that is sent. The dataset must be examined."""
    await take(request, request.state.caller, PREDICTIONS)
    data = await _read_image(request, context)
    try:
        return await unless_gone(request, find_similar(context, turns, dataset, data, limit=limit))
    except ClientGoneError:
        return Response(status_code=CLIENT_GONE)


async def _read_image(request: Request, context: AppContext) -> bytes:
    if media_type_of(request) != FORM:
        return await request.body()
    async with read_form(request, fields=(), max_files=1, folder=context.storage.scratch) as form:
        for _, part in form.multi_items():
            if isinstance(part, UploadFile):
                return await part.read()
    raise InvalidRequestError(
        "The form has no image.",
        hint="Send the image as the part `file`: curl -F file=@image.jpg …",
        errors=(FieldError("file", "missing"),),
    )
