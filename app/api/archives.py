"""An archive's way to the disk, as a form's file or as the whole body."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar
from urllib.parse import unquote

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app.api.dependencies import scope_of
from app.api.forms import read_form
from app.api.routes import FORM, JSON, media_type_of
from app.api.text import check_text
from app.context import AppContext
from app.errors import FieldError, InvalidRequestError, TooLargeError
from app.schemas.archive_kinds import MEDIA_TYPES
from app.services.idempotency import IdempotentRequest

CHUNK_BYTES = 2**20


Choices = TypeVar("Choices")
IN_QUERY = "For an archive that is the body; a form or JSON may have it as a field instead."


def describe_body(
    archive: dict[str, Any], fields: Mapping[str, Any], *, otherwise: dict[str, Any]
) -> dict[str, Any]:
    """What the document says of a route that takes an ``archive`` as a form's file or as the whole body, with
    ``fields`` beside it, or JSON of the schema ``otherwise``.
    """
    form = {"type": "object", "required": ["file"], "properties": {"file": archive, **fields}}
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": IN_QUERY}
            for name, schema in fields.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                FORM: {"schema": form},
                JSON: {"schema": otherwise},
                **{media_type: {"schema": archive} for media_type in MEDIA_TYPES},
            },
        },
    }


@dataclass(frozen=True)
class ReceivedArchive(Generic[Choices]):
    """An upload in the scratch folder. ``name``: the client's. ``choices``: what is said beside it."""

    path: Path
    name: str
    digest: str
    choices: Choices

    def idempotent(self, request: Request, choices: str) -> IdempotentRequest | None:
        """The request's key, for this archive with these ``choices`` as text, empty where there are none."""
        key = request.headers.get("idempotency-key")
        digest = hashlib.sha256((self.digest + choices).encode()).hexdigest() if choices else self.digest
        return IdempotentRequest(scope_of(request), key, digest) if key else None


@asynccontextmanager
async def received_archive(
    context: AppContext,
    request: Request,
    fields: Collection[str],
    read_choices: Callable[[Mapping[str, Any]], Awaitable[Choices]],
) -> AsyncIterator[ReceivedArchive[Choices]]:
    """The archive of a request whose form may have ``fields`` beside it; gone if the block raises.

    ``read_choices`` is given the form's fields; what it refuses is refused before anything is stored.
    Raises InvalidRequestError, TooLargeError.
    """
    target = context.storage.upload()
    try:
        if media_type_of(request) == FORM:
            async with read_form(request, fields=fields, max_files=1, folder=context.storage.scratch) as form:
                # The part is called `file` in the documents; whoever calls it otherwise means the same.
                file = next((part for part in form.values() if isinstance(part, UploadFile)), None)
                if file is None:
                    raise InvalidRequestError(
                        "The form has no file.",
                        hint="Send the archive as the part `file`: curl -F file=@FILE.zip …",
                        errors=(FieldError("file", "missing"),),
                    )
                choices = await read_choices(form)
                digest = await run_in_threadpool(_copy, file.file, target, context.settings.max_upload_bytes)
                yield ReceivedArchive(target, Path(file.filename or "upload").name, digest, choices)
        else:
            name = unquote(request.headers.get("x-filename", "")) or "upload"
            choices = await read_choices({})
            check_text([("X-Filename", name)])
            digest = await _store_body(request, target, context.settings.max_upload_bytes)
            yield ReceivedArchive(target, Path(name).name, digest, choices)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


async def _store_body(request: Request, target: Path, limit: int) -> str:
    """Writes the body to the disk as it comes; returns its SHA-256."""
    digest = hashlib.sha256()
    seen = 0
    with target.open("wb") as output:
        async for chunk in request.stream():
            seen += len(chunk)
            _check_size(seen, limit)
            digest.update(chunk)
            await run_in_threadpool(output.write, chunk)
    return digest.hexdigest()


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
