"""``/uploads``: archives that go on after a cut, by tus 1.0 with its creation, expiration and termination.

https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.api.dependencies import After, ContextDep, Limit
from app.api.problems import BodyRefusedError
from app.api.routes import CheckedRoute
from app.api.text import check_text
from app.context import AppContext
from app.errors import ConflictError, FieldError, InvalidRequestError, NotFoundError, PreconditionFailedError
from app.schemas.common import Page
from app.schemas.limits import MOST_BYTES
from app.schemas.upload import Upload
from app.services import resumable_uploads as uploads

router = APIRouter(prefix="/uploads", tags=["datasets"], route_class=CheckedRoute)

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"
PIECE_TYPE = "application/offset+octet-stream"
PIECE_BYTES = 16 * 2**20
"""So much at most is sent again after the server was killed."""
LONGEST_FINGERPRINT = 200
BODY = {
    "requestBody": {
        "required": True,
        "content": {PIECE_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
HEADERS = {
    "Upload-Offset": {"description": "Bytes that are here.", "schema": {"type": "integer"}},
    "Upload-Length": {"description": "Bytes of the whole archive.", "schema": {"type": "integer"}},
    "Upload-Expires": {"description": "When it is deleted.", "schema": {"type": "string"}},
}
BEGUN = {
    **HEADERS,
    "Location": {"description": "Where to send it, relative to this address.", "schema": {"type": "string"}},
    "Tus-Extension": {"description": EXTENSIONS, "schema": {"type": "string"}},
    "Tus-Max-Size": {"description": "LOUPE_MAX_UPLOAD_BYTES.", "schema": {"type": "integer"}},
}
Tus = Annotated[str | None, Header(description=f"{VERSION}; may be left out.")]
Length = Annotated[int, Header(ge=1, le=MOST_BYTES, description="Bytes of the whole archive.")]
Metadata = Annotated[
    str,
    Header(
        max_length=8192,
        description="As tus has it: a name, a blank, its value in base64; more after a comma. `filename` "
        "names the archive. `fingerprint` is for the client, to find the upload again.",
    ),
]
Offset = Annotated[int, Header(ge=0, le=MOST_BYTES, description="Where the piece begins: what HEAD says.")]
Fingerprint = Annotated[
    str | None,
    Query(min_length=1, max_length=LONGEST_FINGERPRINT, description="Those that began with this one."),
]


@router.post("", status_code=status.HTTP_201_CREATED, responses={201: {"headers": BEGUN}})
def create_upload(
    response: Response,
    context: ContextDep,
    upload_length: Length,
    upload_metadata: Metadata = "",
    tus_resumable: Tus = None,
) -> Upload:
    """Begin to send an archive in pieces. `PATCH` sends them; a dataset is made of it by
    `POST /products/{product}/datasets` with `{"upload": ID}`.
    """
    _require_version(tus_resumable)
    given = _read_metadata(upload_metadata)
    name = Path(given.get("filename", "")).name[-1024:] or "upload"
    upload = uploads.create_upload(context, upload_length, name, _read_fingerprint(given))
    response.headers.update(
        {
            **_describe(upload),
            # Relative: so it holds under /v1 and under a proxy's prefix.
            "Location": f"uploads/{upload.id}",
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(context.settings.max_upload_bytes),
        }
    )
    return upload


@router.get("")
def list_uploads(
    context: ContextDep, fingerprint: Fingerprint = None, limit: Limit = 50, after: After = None
) -> Page[Upload]:
    """The uploads that this key began and that are no dataset yet."""
    return uploads.list_uploads(context, fingerprint=fingerprint, limit=limit, after=after)


@router.get("/{upload}", responses={200: {"headers": HEADERS}})
def get_upload(upload: str, response: Response, context: ContextDep, tus_resumable: Tus = None) -> Upload:
    """How much of an upload is here. `HEAD` says it in headers alone, as tus has it."""
    _require_version(tus_resumable)
    found = uploads.get_upload(context, upload)
    response.headers.update({**_describe(found), "Cache-Control": "no-store"})
    return found


@router.patch(
    "/{upload}",
    status_code=status.HTTP_204_NO_CONTENT,
    openapi_extra=BODY,
    responses={204: {"headers": HEADERS}},
)
async def append_piece(
    upload: str, request: Request, context: ContextDep, upload_offset: Offset, tus_resumable: Tus = None
) -> Response:
    """Send the next piece, of any size. What came before a cut stays: ask where to go on."""
    _require_version(tus_resumable)
    found = await run_in_threadpool(uploads.get_upload, context, upload)
    uploads.require_offset(found, upload_offset)
    declared = request.headers.get("content-length", "")
    if declared.isdigit():
        uploads.require_room(found, upload_offset + int(declared))
    received = await _receive(context, request, found)
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers=_describe(received))


@router.delete("/{upload}", status_code=status.HTTP_204_NO_CONTENT)
def delete_upload(upload: str, context: ContextDep, tus_resumable: Tus = None) -> Response:
    """Give an upload up. A dataset that it became stays."""
    _require_version(tus_resumable)
    uploads.delete_upload(context, upload)
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers={"Tus-Resumable": VERSION})


async def _receive(context: AppContext, request: Request, upload: Upload) -> Upload:
    """Keeps the body, a piece after the other; what came before a cut too. Returns how far it is."""
    piece = await run_in_threadpool(_Piece, context, upload)
    try:
        try:
            async for chunk in request.stream():
                uploads.require_room(upload, piece.end + len(chunk))
                await run_in_threadpool(piece.write, chunk)
                if piece.bytes >= PIECE_BYTES:
                    upload = await run_in_threadpool(piece.keep)
                    piece = await run_in_threadpool(_Piece, context, upload)
        except (ClientDisconnect, BodyRefusedError):
            await run_in_threadpool(piece.keep)
            raise
        return await run_in_threadpool(piece.keep)
    finally:
        await run_in_threadpool(piece.close)


class _Piece:
    """A piece on its way to the disk; ``close`` deletes it unless it was kept."""

    def __init__(self, context: AppContext, upload: Upload) -> None:
        self._context, self._upload = context, upload
        self._path: Path | None = uploads.new_piece(context, upload)
        self._file = self._path.open("wb")
        self.bytes = 0

    @property
    def end(self) -> int:
        """Where in the upload it ends as yet."""
        return self._upload.offset + self.bytes

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.bytes += len(chunk)

    def keep(self) -> Upload:
        self._file.close()
        if self.bytes == 0 or self._path is None:
            return self._upload
        # From here on it may count, whatever happens to this request: an answer of the database may be lost.
        path, self._path = self._path, None
        try:
            return uploads.keep_piece(self._context, self._upload, path)
        except (ConflictError, NotFoundError):
            self._context.storage.discard(path)
            raise

    def close(self) -> None:
        self._file.close()
        if self._path is not None:
            self._context.storage.discard(self._path)


def _describe(upload: Upload) -> dict[str, str]:
    return {
        "Tus-Resumable": VERSION,
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.length),
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
    }


def _require_version(given: str | None) -> None:
    """Raises PreconditionFailedError. Who names none is taken to mean this one: curl, say."""
    if given not in (None, VERSION):
        raise PreconditionFailedError(
            f"This server speaks tus {VERSION}, not {given[:20]!r}.", hint=f"Send Tus-Resumable: {VERSION}."
        )


def _read_metadata(metadata: str) -> Mapping[str, str]:
    """``filename`` and ``fingerprint``, where they are given. Raises InvalidRequestError."""
    values = {}
    for pair in metadata.split(","):
        key, _, value = pair.strip().partition(" ")
        if key in ("filename", "fingerprint"):
            try:
                values[key] = base64.b64decode(value.strip(), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise InvalidRequestError(
                    f"The {key} in Upload-Metadata is not UTF-8 in base64.",
                    hint="Send Upload-Metadata: filename $(printf %s NAME | base64 -w0).",
                    errors=(FieldError("Upload-Metadata", "not base64"),),
                ) from error
    check_text(("Upload-Metadata", value) for value in values.values())
    return values


def _read_fingerprint(given: Mapping[str, str]) -> str | None:
    fingerprint = given.get("fingerprint") or None
    if fingerprint is not None and len(fingerprint) > LONGEST_FINGERPRINT:
        raise InvalidRequestError(
            f"The fingerprint in Upload-Metadata has {len(fingerprint):,} characters, the limit is "
            f"{LONGEST_FINGERPRINT}.",
            hint="Send a digest.",
            errors=(FieldError("Upload-Metadata", "too long"),),
        )
    return fingerprint
