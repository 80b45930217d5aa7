"""Taking in a dataset or a model: which kind of body came, and an archive's way to the disk."""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from app.services import datasets, model_imports, products
from app.services.idempotency import Answer, IdempotentRequest

CHUNK_BYTES = 2**20
ASKED = frozenset({"name_encoding", "class_level"})
"""The choices that an import asks for where it cannot decide."""


async def receive_dataset(context: AppContext, product: str, request: Request) -> Answer:
    """Dispatches on the body's type; the route refuses any that the document does not name."""
    await run_in_threadpool(products.get_product, context, product)
    if media_type_of(request) == JSON:
        return await _from_path(context, product, request)
    return await _from_upload(context, product, request)


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


async def _from_upload(context: AppContext, product: str, request: Request) -> Answer:
    choices = ImportChoices()
    if media_type_of(request) != FORM:
        choices = _read_choices(request, {})  # Before the body, which may be large.
    async with _received(context, request, ImportChoices.model_fields) as upload:
        if media_type_of(request) == FORM:
            choices = _read_choices(request, upload.fields)
        digest = upload.sha256
        if choices != ImportChoices():
            digest = hashlib.sha256((digest + choices.model_dump_json()).encode()).hexdigest()
        return await run_in_threadpool(
            datasets.import_upload,
            context,
            product,
            upload.path,
            Path(upload.name).name,
            _idempotent(request, digest),
            choices,
        )


async def receive_model(context: AppContext, product: str, request: Request) -> Answer:
    """The zip of another Loupe's model, as the body or as the part ``file`` of a form."""
    await run_in_threadpool(products.get_product, context, product)
    async with _received(context, request, ()) as upload:
        return await run_in_threadpool(
            model_imports.create_model_import,
            context,
            product,
            upload.path,
            _idempotent(request, upload.sha256),
        )


@dataclass(frozen=True)
class _Upload:
    """A file that came. ``fields``: the others of its form."""

    path: Path
    name: str
    sha256: str
    fields: Mapping[str, Any]


@asynccontextmanager
async def _received(context: AppContext, request: Request, fields: Collection[str]) -> AsyncIterator[_Upload]:
    """The file of a request in the home folder, from where it is gone if the block raises."""
    target, most = context.storage.upload(), context.settings.max_upload_bytes
    try:
        if media_type_of(request) != FORM:
            yield await _receive_body(request, target, most)
            return
        async with read_form(request, fields=fields, max_files=1, folder=context.storage.scratch) as form:
            # The part is called `file` in the documents; whoever calls it otherwise means the same.
            file = next((part for part in form.values() if isinstance(part, UploadFile)), None)
            if file is None:
                raise InvalidRequestError(
                    "The form has no file.",
                    hint="Send the archive as the part `file`: curl -F file=@FILE.zip …",
                    errors=(FieldError("file", "missing"),),
                )
            digest = await run_in_threadpool(_copy, file.file, target, most)
            yield _Upload(target, file.filename or "upload", digest, form)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


async def _receive_body(request: Request, target: Path, most: int) -> _Upload:
    name = unquote(request.headers.get("x-filename", "")) or "upload"
    check_text([("X-Filename", name)])
    digest = hashlib.sha256()
    seen = 0
    with target.open("wb") as output:
        async for chunk in request.stream():
            seen += len(chunk)
            _check_size(seen, most)
            digest.update(chunk)
            await run_in_threadpool(output.write, chunk)
    return _Upload(target, name, digest.hexdigest(), {})


def _idempotent(request: Request, digest: str) -> IdempotentRequest | None:
    key = request.headers.get("idempotency-key")
    return IdempotentRequest(scope_of(request), key, digest) if key else None


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
