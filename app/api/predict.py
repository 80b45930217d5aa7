"""``POST /predict``"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from app.api.base64_pictures import NotBase64Error, decode_base64
from app.api.choices import merge_choices
from app.api.dependencies import get_turns
from app.api.document import inline_schema
from app.api.forms import read_form
from app.api.invalid_requests import invalid_body
from app.api.measurements import ANSWERED
from app.api.predicting import SERVER_TIMING, Answered, answer_in_bounds
from app.api.routes import FORM, JSON, DirectRoute, media_type_of
from app.context import AppContext
from app.errors import FieldError, InvalidRequestError, TooLargeError
from app.schemas.caller import Caller
from app.schemas.prediction import Predictions, PredictRequest
from app.services import predictions
from app.services.model_router import Asked
from app.services.model_router import Question as ModelQuestion
from app.services.predictions import Picture

router = APIRouter(tags=["predictions"], route_class=DirectRoute)

OPTIONS = {
    "product": "Answer from this product's champion, from `product@alias`, or from `product@3`, a version.",
    "job": "Answer from the model of this job.",
    "model": "Answer from this model.",
    "top_k": "How many labels to return, most probable first.",
}
TIMEOUT, MAX_TIMEOUT = "X-Request-Timeout", 3600
TOP_K = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5}
PARAMETERS = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "description": text,
        "schema": TOP_K if name == "top_k" else {"type": "string"},
    }
    for name, text in OPTIONS.items()
]
PARAMETERS += [
    {
        "name": TIMEOUT,
        "in": "header",
        "required": False,
        "description": "Seconds after which no answer is wanted any more.",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT},
    }
]
FORM_FIELDS: dict[str, Any] = {
    "file": {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "description": "One image, or several parts of this name.",
    },
    **{
        name: {**(TOP_K if name == "top_k" else {"type": "string"}), "description": text}
        for name, text in OPTIONS.items()
    },
}


PICTURE = {"type": "string", "format": "binary", "description": "The image file."}


@dataclass(frozen=True)
class Question:
    """What a request asks, whichever form it came in."""

    pictures: list[Picture]
    model: ModelQuestion
    top_k: int


@router.post(
    "/predict",
    response_model=Predictions,
    responses={200: {"headers": SERVER_TIMING}},
    openapi_extra={
        "parameters": PARAMETERS,
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "required": ["file"], "properties": FORM_FIELDS}
                },
                "image/*": {"schema": PICTURE},
                "application/octet-stream": {"schema": PICTURE},
                "application/json": {"schema": inline_schema(PredictRequest)},
            },
        },
    },
)
async def predict(request: Request) -> Response:
    """Classify one or several images with the best model of a product, or with the one of a job."""
    context: AppContext = request.app.state.context
    settings = context.settings
    seconds = _read_timeout(request)
    question = await _read_question(request, context)

    async def answer(asked: Asked) -> Answered:
        found = await predictions.predict(
            asked,
            get_turns(request),
            question.pictures,
            top_k=question.top_k,
            max_pixels=settings.max_pixels,
        )
        return Answered(
            Response(found.model_dump_json(), media_type=JSON),
            outcomes=[item.error.code if item.error else ANSWERED for item in found.results],
            timings=[item.timing for item in found.results if item.timing is not None],
            decisions=[item.reject_reason or item.decision for item in found.results if item.decision],
        )

    return await answer_in_bounds(
        request, question.model, answer, images=len(question.pictures), seconds=seconds
    )


def _read_timeout(request: Request) -> float | None:
    given = request.headers.get(TIMEOUT)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_TIMEOUT:
        message = f"a number of seconds above 0 and up to {MAX_TIMEOUT:,}"
        raise InvalidRequestError(
            f"The header {TIMEOUT} must be {message}, got {given[:100]!r}.",
            errors=(FieldError(TIMEOUT, message),),
        )
    return seconds


async def _read_question(request: Request, context: AppContext) -> Question:
    media_type, max_files = media_type_of(request), context.settings.max_predict_files
    if media_type == FORM:
        folder = context.storage.scratch
        async with read_form(request, fields=OPTIONS, max_files=max_files, folder=folder) as form:
            return await _from_form(request, form, max_files)
    if media_type == JSON:
        # Not on the event loop: reading tens of megabytes would hold up all others.
        return await run_in_threadpool(_from_json, request, await request.body(), max_files)
    return _question(request, {}, [Picture(None, await request.body())])


async def _from_form(request: Request, form: FormData, max_files: int) -> Question:
    # The parts are called `file` in the documents; an image under another name is an image all the same.
    files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    _check_count(len(files), max_files)
    pictures = [Picture(part.filename or None, await part.read()) for part in files]
    fields = {name: str(form[name]) for name in OPTIONS if name in form}
    return _question(request, fields, pictures)


def _from_json(request: Request, body: bytes, max_files: int) -> Question:
    try:
        asked = PredictRequest.model_validate_json(body.removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise invalid_body(error, PredictRequest) from error
    _check_count(len(asked.inputs), max_files)
    pictures = []
    for index, entry in enumerate(asked.inputs):
        try:
            pictures.append(Picture(entry.name, decode_base64(entry.b64)))
        except NotBase64Error as error:
            pointer = f"/inputs/{index}/b64"
            raise InvalidRequestError(
                f"{pointer} is not base64: {error}.",
                hint="Send the bytes of the image file as base64: base64 -w0 image.jpg. A data URL, line "
                "breaks, the URL-safe alphabet and missing padding are accepted.",
                errors=(FieldError(pointer, str(error)),),
            ) from error
    given = asked.model_dump(include=set(OPTIONS), exclude_unset=True, exclude_none=True)
    return _question(request, {name: str(value) for name, value in given.items()}, pictures)


def _question(request: Request, fields: dict[str, str], pictures: list[Picture]) -> Question:
    """What the query and the body ask together. An empty value is none."""
    given = merge_choices(request, OPTIONS, fields)
    top_k = given.get("top_k", "5")
    if not re.fullmatch("[0-9]{1,9}", top_k) or not 1 <= int(top_k) <= 1000:
        raise InvalidRequestError(
            f"top_k must be a whole number from 1 to 1000, got {top_k[:100]!r}.",
            errors=(FieldError("top_k", "a whole number from 1 to 1000"),),
        )
    caller: Caller = request.state.caller
    model = ModelQuestion(given.get("product"), given.get("job"), given.get("model"), caller.products)
    return Question(pictures, model, int(top_k))


def _check_count(count: int, max_files: int) -> None:
    if count == 0:
        raise InvalidRequestError(
            "The form has no image.",
            hint="Send each image as a part `file`: curl -F file=@image.jpg …",
            errors=(FieldError("file", "missing"),),
        )
    if count > max_files:
        raise TooLargeError(
            f"{count} images are more than the {max_files} that one request may hold.",
            hint="Send several requests.",
        )
