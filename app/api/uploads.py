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
from app.errors import FieldError, InvalidRequestError
from app.schemas.dataset import ImportSource, ImportSourcePath
from app.schemas.import_choices import ImportChoices
from app.services import datasets, model_imports, products, upload_imports
from app.services.idempotency import Answer, IdempotentRequest

SOURCES = 'Send {"path": "/folder"}, or {"upload": "ID"}.'
ASKED = frozenset({"name_encoding", "class_level"})
"""The choices that an import asks for where it cannot decide."""


async def receive_dataset(context: AppContext, product: str, request: Request) -> Answer:
    """Dispatches on the body's type; the route refuses any that the document does not name."""
    await run_in_threadpool(products.get_product, context, product)
    if media_type_of(request) == JSON:
        return await _from_json(context, product, request)
    return await _from_archive(context, product, request)


async def _from_json(context: AppContext, product: str, request: Request) -> Answer:
    body = await request.body()
    text = body.removeprefix(BOM_UTF8)
    # Whoever speaks of no upload means a path, and is told that it is missing.
    shape = ImportSource if b"upload" in text else ImportSourcePath
    try:
        wanted = shape.model_validate_json(text)
    except ValidationError as error:
        raise invalid_body(error, shape, _hint(error, SOURCES)) from error
    choices = _read_choices(request, wanted.model_dump(include=set(ImportChoices.model_fields)))
    key = request.headers.get("idempotency-key")
    idempotent = IdempotentRequest.of(scope_of(request), key, body + request.url.query.encode())
    if wanted.path is not None and wanted.upload is None:
        return await run_in_threadpool(
            datasets.import_path, context, product, wanted.path, idempotent, choices
        )
    if wanted.upload is not None and wanted.path is None:
        return await run_in_threadpool(
            upload_imports.import_sent, context, product, wanted.upload, idempotent, choices
        )
    raise InvalidRequestError(
        "An import takes either a path or an upload.",
        hint=SOURCES,
        errors=(FieldError("/path", "missing" if wanted.path is None else "not beside `upload`"),),
    )


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
