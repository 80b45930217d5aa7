"""Taking in a dataset: which kind of body came, and an archive's way to the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from app.api.dependencies import scope_of
from app.context import AppContext
from app.errors import FieldError, InvalidRequestError, TooLargeError, UnsupportedMediaTypeError
from app.schemas.dataset import DatasetFromPath
from app.schemas.import_choices import ImportChoices
from app.services import datasets, products
from app.services.idempotency import Answer, IdempotentRequest

ARCHIVE_TYPES = frozenset(
    {
        "application/zip",
        "application/x-zip-compressed",
        "application/x-tar",
        "application/gzip",
        "application/x-gzip",
        "application/octet-stream",
    }
)
CHUNK_BYTES = 2**20


async def receive_dataset(context: AppContext, product: str, request: Request) -> Answer:
    """Dispatches on the body's type. Raises UnsupportedMediaTypeError for any other."""
    await run_in_threadpool(products.get_product, context, product)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return await _from_path(context, product, request)
    if media_type == "multipart/form-data":
        return await _from_form(context, product, request)
    if media_type in ARCHIVE_TYPES:
        return await _from_raw_body(context, product, request)
    raise UnsupportedMediaTypeError(
        f"A dataset cannot come as {media_type or 'a body without a content type'}.",
        hint='Send multipart with a part `file`, an archive as the body, or JSON {"path": …}.',
    )


async def _from_path(context: AppContext, product: str, request: Request) -> Answer:
    body = await request.body()
    try:
        wanted = DatasetFromPath.model_validate_json(body)
    except ValidationError as error:
        raise _as_invalid_request(error, 'Send {"path": "/folder"}.') from error
    idempotent = IdempotentRequest.of(scope_of(request), request.headers.get("idempotency-key"), body)
    choices = ImportChoices.model_validate(wanted.model_dump())
    return await run_in_threadpool(datasets.import_path, context, product, wanted.path, idempotent, choices)


async def _from_form(context: AppContext, product: str, request: Request) -> Answer:
    async with request.form(max_files=1, max_fields=10) as form:
        # The part is called `file` in the documents; whoever calls it otherwise means the same.
        file = next((part for part in form.values() if isinstance(part, UploadFile)), None)
        if file is None:
            raise InvalidRequestError(
                "The form has no file.",
                hint="Send the archive as the part `file`: curl -F file=@pictures.zip …",
                errors=(FieldError("file", "missing"),),
            )
        choices = _read_choices(form)
        target = context.storage.upload()
        try:
            digest = await run_in_threadpool(_copy, file.file, target, context.settings.max_upload_bytes)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return await _import(context, product, request, target, file.filename or "upload", digest, choices)


async def _from_raw_body(context: AppContext, product: str, request: Request) -> Answer:
    choices = _read_choices(request.query_params)
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
    name = unquote(request.headers.get("x-filename", "")) or "upload"
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


def _read_choices(fields: Mapping[str, object]) -> ImportChoices:
    """The choices among a form's fields or a query's parameters. Raises InvalidRequestError."""
    given = {name: fields[name] for name in ImportChoices.model_fields if fields.get(name)}
    try:
        return ImportChoices.model_validate(given)
    except ValidationError as error:
        raise _as_invalid_request(
            error, "Leave it out if you do not know it: the import then asks."
        ) from error


def _as_invalid_request(error: ValidationError, hint: str) -> InvalidRequestError:
    errors = tuple(FieldError("/" + "/".join(map(str, item["loc"])), item["msg"]) for item in error.errors())
    return InvalidRequestError(f"{errors[0].pointer}: {errors[0].message}", hint=hint, errors=errors)


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
