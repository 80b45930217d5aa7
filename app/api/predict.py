"""``POST /predict``"""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from app.api.dependencies import ContextDep, ModelCacheDep
from app.api.measurements import ANSWERED, Measurements
from app.errors import (
    FieldError,
    InvalidRequestError,
    LoupeError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from app.schemas.prediction import InlineImage, Predictions, PredictRequest
from app.services import predictions
from app.services.predictions import Picture

router = APIRouter(tags=["predictions"])

OPTIONS = {
    "product": "Answer from this product's champion, from `product@alias`, or from `product@3`, a version.",
    "job": "Answer from the model of this job.",
    "model": "Answer from this model.",
    "top_k": "How many labels to return, most probable first.",
}
PARAMETERS = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "description": text,
        "schema": {"type": "integer", "minimum": 1, "default": 5} if name == "top_k" else {"type": "string"},
    }
    for name, text in OPTIONS.items()
]
FORM_FIELDS: dict[str, Any] = {
    "file": {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "description": "One picture, or several parts of this name.",
    },
    **{
        name: {"type": "integer" if name == "top_k" else "string", "description": text}
        for name, text in OPTIONS.items()
    },
}


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
                "image/*": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": JSON_SCHEMA},
            },
        },
    },
)
async def predict(request: Request, context: ContextDep, cache: ModelCacheDep) -> Predictions:
    """Classify one or several pictures with the best model of a product, or with the one of a job."""
    question = await _read_question(request, context.settings.max_predict_files)
    measurements: Measurements = request.app.state.measurements
    began = time.perf_counter()
    try:
        answer = await run_in_threadpool(
            predictions.predict,
            context,
            cache,
            question.pictures,
            product=question.product,
            job=question.job,
            model=question.model,
            top_k=question.top_k,
        )
    except LoupeError as error:
        last = context.last_choices.get((question.product, question.job, question.model))
        measurements.prediction_failed(
            last.product if last else "", time.perf_counter() - began, error.code, len(question.pictures)
        )
        raise
    outcomes = [item.error.code if item.error else ANSWERED for item in answer.results]
    measurements.predicted(answer.model.product, time.perf_counter() - began, outcomes)
    return answer


async def _read_question(request: Request, max_files: int) -> Question:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        # Starlette refuses more files itself, but as a parse error; one more lets us say it clearly.
        async with request.form(max_files=max_files + 1, max_fields=20) as form:
            return await _from_form(request, form, max_files)
    if media_type == "application/json":
        return _from_json(await request.body(), max_files)
    if media_type.startswith("image/") or media_type == "application/octet-stream":
        data = await request.body()
        return _question(request, {}, [Picture(None, data)])
    raise UnsupportedMediaTypeError(
        f"A picture cannot come as {media_type or 'a body without a content type'}.",
        hint="Send multipart with parts `file`, the picture as an image/* body, or JSON with base64 inputs.",
    )


async def _from_form(request: Request, form: FormData, max_files: int) -> Question:
    # The parts are called `file` in the documents; a picture under another name is a picture all the same.
    files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    _check_count(len(files), max_files)
    pictures = [Picture(part.filename, await part.read()) for part in files]
    fields = {name: str(form[name]) for name in OPTIONS if name in form}
    return _question(request, fields, pictures)


def _from_json(body: bytes, max_files: int) -> Question:
    try:
        asked = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        errors = tuple(
            FieldError("/" + "/".join(map(str, item["loc"])), item["msg"]) for item in error.errors()
        )
        raise InvalidRequestError(f"{errors[0].pointer}: {errors[0].message}", errors=errors) from error
    _check_count(len(asked.inputs), max_files)
    pictures = []
    for index, entry in enumerate(asked.inputs):
        try:
            pictures.append(Picture(entry.name, base64.b64decode(entry.b64, validate=True)))
        except (binascii.Error, ValueError) as error:
            raise InvalidRequestError(
                f"/inputs/{index}/b64 is not base64.",
                errors=(FieldError(f"/inputs/{index}/b64", "not base64"),),
            ) from error
    return Question(pictures, asked.product, asked.job, asked.model, asked.top_k)


def _question(request: Request, fields: dict[str, str], pictures: list[Picture]) -> Question:
    given = {
        **{name: request.query_params[name] for name in OPTIONS if name in request.query_params},
        **fields,
    }
    top_k = given.get("top_k", "5")
    if not top_k.isdecimal() or not 1 <= int(top_k) <= 1000:
        raise InvalidRequestError(
            f"top_k must be a whole number from 1 to 1000, got {top_k!r}.",
            errors=(FieldError("top_k", "a whole number from 1 to 1000"),),
        )
    return Question(
        pictures,
        given.get("product") or None,
        given.get("job") or None,
        given.get("model") or None,
        int(top_k),
    )


def _check_count(count: int, max_files: int) -> None:
    if count == 0:
        raise InvalidRequestError(
            "The form has no picture.",
            hint="Send each picture as a part `file`: curl -F file=@picture.jpg …",
            errors=(FieldError("file", "missing"),),
        )
    if count > max_files:
        raise TooLargeError(
            f"{count} pictures are more than the {max_files} that one request may hold.",
            hint="Send several requests.",
        )
