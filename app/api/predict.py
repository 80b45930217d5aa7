"""``POST /predict``"""

from __future__ import annotations

import asyncio
import re
import time
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from app.api.base64_pictures import NotBase64Error, decode_base64
from app.api.choices import merge_choices
from app.api.dependencies import ContextDep, ModelCacheDep, TurnsDep
from app.api.forms import read_form
from app.api.invalid_requests import invalid_body
from app.api.leaving import CLIENT_GONE, ClientGoneError, unless_gone
from app.api.limits import take
from app.api.measurements import ANSWERED, Measurements
from app.api.routes import FORM, JSON, CheckedRoute, media_type_of
from app.context import AppContext
from app.errors import (
    BusyError,
    FieldError,
    InvalidRequestError,
    LoupeError,
    TooLargeError,
)
from app.inference.cache import ModelCache
from app.inference.turns import Turns
from app.schemas.limits import PREDICTIONS
from app.schemas.prediction import InlineImage, Predictions, PredictRequest
from app.services import predictions
from app.services.predictions import Picture

router = APIRouter(tags=["predictions"], route_class=CheckedRoute)

OPTIONS = {
    "product": "Answer from this product's champion, from `product@alias`, or from `product@3`, a version.",
    "job": "Answer from the model of this job.",
    "model": "Answer from this model.",
    "top_k": "How many labels to return, most probable first.",
}
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

# A schema given by hand stands outside of the document's components, so it must hold all its parts.
JSON_SCHEMA = PredictRequest.model_json_schema()
JSON_SCHEMA["properties"]["inputs"]["items"] = InlineImage.model_json_schema()
del JSON_SCHEMA["$defs"]


@dataclass(frozen=True)
class Question:
    """What a request asks, whichever form it came in."""

    pictures: list[Picture]
    product: str | None
    job: str | None
    model: str | None
    top_k: int


@router.post(
    "/predict",
    response_model=Predictions,
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
                "application/json": {"schema": JSON_SCHEMA},
            },
        },
    },
)
async def predict(
    request: Request,
    context: ContextDep,
    cache: ModelCacheDep,
    turns: TurnsDep,
    x_request_timeout: Annotated[
        float | None, Header(gt=0, le=3600, description="Seconds after which no answer is wanted any more.")
    ] = None,
) -> Predictions | Response:
    """Classify one or several images with the best model of a product, or with the one of a job."""
    question = await _read_question(request, context)
    await take(request, request.state.caller, PREDICTIONS, len(question.pictures))
    measurements: Measurements = request.app.state.measurements
    began = time.perf_counter()
    try:
        async with _at_most(x_request_timeout):
            answer = await unless_gone(request, _answer(context, cache, turns, question))
    except ClientGoneError:
        measurements.prediction_failed("", time.perf_counter() - began, "client_gone", len(question.pictures))
        return Response(status_code=CLIENT_GONE)
    except LoupeError as error:
        last = context.last_choices.get((question.product, question.job, question.model))
        measurements.prediction_failed(
            last.product if last else "", time.perf_counter() - began, error.code, len(question.pictures)
        )
        raise
    outcomes = [item.error.code if item.error else ANSWERED for item in answer.results]
    measurements.predicted(answer.model.product, time.perf_counter() - began, outcomes)
    return answer


async def _answer(context: AppContext, cache: ModelCache, turns: Turns, question: Question) -> Predictions:
    asked = await run_in_threadpool(
        predictions.find_model,
        context,
        cache,
        product=question.product,
        job=question.job,
        model=question.model,
    )
    return await predictions.predict(
        asked, turns, question.pictures, top_k=question.top_k, max_pixels=context.settings.max_pixels
    )


@asynccontextmanager
async def _at_most(seconds: float | None) -> AsyncIterator[None]:
    """Raises BusyError after so long."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BusyError(
            f"There is no answer within the {seconds:g} s that the request allows.",
            hint="Try again in a few seconds, or allow more with X-Request-Timeout.",
        ) from None


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
    return Question(pictures, given.get("product"), given.get("job"), given.get("model"), int(top_k))


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
