"""Taking in a dataset: which kind of body came, and an archive's way to the disk."""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from app.api.choices import merge_choices
from app.api.dependencies import scope_of
from app.api.forms import read_form
from app.api.invalid_requests import SEE_DOCS, invalid_body
from app.api.routes import FORM, JSON, media_type_of
from app.api.text import check_text
from app.context import AppContext
from app.errors import FieldError, InvalidRequestError, TooLargeError
from app.schemas.dataset import DatasetFromPath
from app.schemas.import_choices import ImportChoices
from app.services import datasets, products
from app.services.idempotency import Answer, IdempotentRequest

CHUNK_BYTES = 2**20
ASKED = frozenset({"name_encoding", "class_level"})
"""The choices that an import asks for where it cannot decide."""


async def receive_dataset(context: AppContext, product: str, request: Request) -> Answer:
    """Dispatches on the body's type; the route refuses any that the document does not name."""
    await run_in_threadpool(products.get_product, context, product)
    media_type = media_type_of(request)
    if media_type == JSON:
        return await _from_path(context, product, request)
    if media_type == FORM:
        return await _from_form(context, product, request)
    return await _from_raw_body(context, product, request)


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


async def _from_form(context: AppContext, product: str, request: Request) -> Answer:
    folder = context.storage.scratch
    async with read_form(request, fields=ImportChoices.model_fields, max_files=1, folder=folder) as form:
        # The part is called `file` in the documents; whoever calls it otherwise means the same.
        file = next((part for part in form.values() if isinstance(part, UploadFile)), None)
        if file is None:
            raise InvalidRequestError(
                "The form has no file.",
                hint="Send the archive as the part `file`: curl -F file=@images.zip …",
                errors=(FieldError("file", "missing"),),
            )
        choices = _read_choices(request, form)
        target = context.storage.upload()
        try:
            digest = await run_in_threadpool(_copy, file.file, target, context.settings.max_upload_bytes)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return await _import(context, product, request, target, file.filename or "upload", digest, choices)


async def _from_raw_body(context: AppContext, product: str, request: Request) -> Answer:
    choices = _read_choices(request, {})
    name = unquote(request.headers.get("x-filename", "")) or "upload"
    check_text([("X-Filename", name)])
    target = context.storage.upload()
    digest = hashlib.sha256()
    seen = 0
    try:
        with target.open("wb") as output:
            async for chunk in request.stream():
                seen += len(chunk)
                _check_size(seen, context.settings.max_upload_bytes)
                digest.update(chunk)
                await run_in_threadpool(output.write, chunk)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return await _import(context, product, request, target, name, digest.hexdigest(), choices)


async def _import(
    context: AppContext,
    product: str,
    request: Request,
    target: Path,
    name: str,
    digest: str,
    choices: ImportChoices,
) -> Answer:
    key = request.headers.get("idempotency-key")
    if choices != ImportChoices():
        digest = hashlib.sha256((digest + choices.model_dump_json()).encode()).hexdigest()
    idempotent = IdempotentRequest(scope_of(request), key, digest) if key else None
    try:
        answer = await run_in_threadpool(
            datasets.import_upload, context, product, target, Path(name).name, idempotent, choices
        )
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return answer


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


def _copy(source: BinaryIO, target: Path, limit: int) -> str:
    """Copies an upload into the home folder; returns its SHA-256."""
    digest = hashlib.sha256()
    seen = 0
    with target.open("wb") as output:
        while chunk := source.read(CHUNK_BYTES):
            seen += len(chunk)
            _check_size(seen, limit)
            digest.update(chunk)
            output.write(chunk)
    return digest.hexdigest()


def _check_size(seen: int, limit: int) -> None:
    if seen > limit:
        raise TooLargeError(
            f"The archive is larger than {limit:,} bytes.",
            hint="Split it, import a folder by path, or raise LOUPE_MAX_UPLOAD_BYTES.",
        )
