"""Taking in a dataset or a model: which kind of body came."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from app.api.archives import received_archive
from app.api.choices import merge_choices
from app.api.dependencies import scope_of
from app.api.invalid_requests import SEE_DOCS, invalid_body
from app.api.routes import JSON, media_type_of
from app.context import AppContext
from app.schemas.dataset import DatasetFromPath
from app.schemas.import_choices import ImportChoices
from app.services import datasets, model_imports, products
from app.services.idempotency import Answer, IdempotentRequest

ASKED = frozenset({"name_encoding", "class_level"})
"""The choices that an import asks for where it cannot decide."""


async def receive_dataset(context: AppContext, product: str, request: Request) -> Answer:
    """Dispatches on the body's type; the route refuses any that the document does not name."""
    await run_in_threadpool(products.get_product, context, product)
    if media_type_of(request) == JSON:
        return await _from_path(context, product, request)
    return await _from_archive(context, product, request)


async def _from_path(context: AppContext, product: str, request: Request) -> Answer:
    body = await request.body()
    try:
        wanted = DatasetFromPath.model_validate_json(body.removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise invalid_body(error, DatasetFromPath, _hint(error, 'Send {"path": "/folder"}.')) from error
    choices = _read_choices(request, wanted.model_dump(include=set(ImportChoices.model_fields)))
    key = request.headers.get("idempotency-key")
    idempotent = IdempotentRequest.of(scope_of(request), key, body + request.url.query.encode())
    return await run_in_threadpool(datasets.import_path, context, product, wanted.path, idempotent, choices)


async def _from_archive(context: AppContext, product: str, request: Request) -> Answer:
    async def read_choices(fields: Mapping[str, Any]) -> ImportChoices:
        return _read_choices(request, fields)

    async with received_archive(context, request, ImportChoices.model_fields, read_choices) as archive:
        choices = archive.choices
        said = choices.model_dump_json() if choices != ImportChoices() else ""
        idempotent = archive.idempotent(request, said)
        return await run_in_threadpool(
            datasets.import_upload, context, product, archive.path, archive.name, idempotent, choices
        )


async def receive_model(context: AppContext, product: str, request: Request) -> Answer:
    """The zip of another Loupe's model, as the body or as the part ``file`` of a form."""
    await run_in_threadpool(products.get_product, context, product)

    async def read_nothing(_: Mapping[str, Any]) -> None:
        return None

    async with received_archive(context, request, (), read_nothing) as archive:
        return await run_in_threadpool(
            model_imports.create_model_import,
            context,
            product,
            archive.path,
            archive.idempotent(request, ""),
        )


def _read_choices(request: Request, fields: Mapping[str, Any]) -> ImportChoices:
    """The choices of the query and of the body. Raises InvalidRequestError."""
    try:
        return ImportChoices.model_validate(merge_choices(request, ImportChoices.model_fields, fields))
    except ValidationError as error:
        raise invalid_body(error, ImportChoices, _hint(error, SEE_DOCS)) from error


def _hint(error: ValidationError, otherwise: str) -> str:
    wrong = {item["loc"][0] if item["loc"] else "" for item in error.errors()}
    if wrong <= ASKED:
        return "Leave it out if you do not know it: the import then asks."
    if wrong <= set(ImportChoices.model_fields):
        return f"Leave it out if you do not need it. {SEE_DOCS}"
    return otherwise
