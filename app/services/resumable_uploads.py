"""Uploads that go on after a cut: an archive comes in pieces, each of which is safe once it is acknowledged.

A piece is a file of its own, here and in the storage that hosts share; the row says which pieces count. So
any process of any host may take the next one, and of two at one offset one wins.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session
from ulid import ULID

from app.context import AppContext
from app.errors import ConflictError, FieldError, NotFoundError, StorageFullError, TooLargeError
from app.host.files import sync
from app.models import Upload
from app.models.base import new_id, utc_now
from app.schemas import upload as schemas
from app.schemas.common import Page
from app.services.pages import fetch_page

KEPT = timedelta(days=3)
"""An upload stays for so long after its last byte: over a weekend."""
MOST_UNFINISHED = 20
"""Of one key at a time; of a server without keys, of all clients."""
MOST_CUTS, LEAST_PIECE_BYTES = 1000, 4 * 2**20
"""A piece for each so many bytes, and so many more for cuts: a row names them all."""


def create_upload(context: AppContext, length: int, name: str, fingerprint: str | None) -> schemas.Upload:
    """Begins an upload of ``length`` bytes. Raises TooLargeError, StorageFullError, ConflictError."""
    most = context.settings.max_upload_bytes
    if length > most:
        raise TooLargeError(
            f"The archive has {length:,} bytes, the limit is {most:,}.",
            hint="Split it, import a folder by path, or raise LOUPE_MAX_UPLOAD_BYTES.",
        )
    # Its pieces, and the whole archive beside them for a moment.
    if 2 * length > (free := shutil.disk_usage(context.storage.scratch).free):
        raise StorageFullError(
            f"The archive has {length:,} bytes and needs twice as much for a moment; the server's disk has "
            f"{free:,} free.",
            hint="Make room on the server, or split the archive.",
        )
    with context.db.write() as session:
        unfinished = session.scalar(
            select(func.count(Upload.id)).where(*_live(context), Upload.dataset_id.is_(None))
        )
        if unfinished is not None and unfinished >= MOST_UNFINISHED:
            # No 429: waiting does not help.
            raise ConflictError(
                f"There are {unfinished} unfinished uploads, the most at a time.",
                hint="Finish them, or give some up: GET /uploads lists them, DELETE /uploads/ID deletes one.",
            )
        row = Upload(
            id=new_id("upl"),
            key_id=context.db.caller.key_id,
            name=name,
            fingerprint=fingerprint,
            length=length,
            received=0,
            pieces=[],
            expires_at=utc_now() + KEPT,
        )
        session.add(row)
        return to_schema(row)


def get_upload(context: AppContext, upload_id: str) -> schemas.Upload:
    """Raises NotFoundError, also for what another key sends."""
    with context.db.read() as session:
        return to_schema(require_upload(context, session, upload_id))


def list_uploads(
    context: AppContext, *, fingerprint: str | None, limit: int, after: str | None
) -> Page[schemas.Upload]:
    """Those of the key that are not imported yet, newest first."""
    query = select(Upload).where(*_live(context), Upload.dataset_id.is_(None))
    if fingerprint is not None:
        query = query.where(Upload.fingerprint == fingerprint)
    with context.db.read() as session:
        return fetch_page(session, query, Upload.id, to_schema, limit=limit, after=after)


def delete_upload(context: AppContext, upload_id: str) -> None:
    """Gives an upload up, with what is here of it. Raises NotFoundError."""
    with context.db.write() as session:
        session.delete(require_upload(context, session, upload_id, is_held=True))
    context.storage.discard(context.storage.pieces(upload_id))


def require_offset(upload: schemas.Upload, offset: int) -> None:
    """Raises ConflictError for bytes that do not follow those that are here."""
    if upload.offset != offset:
        raise ConflictError(
            f"The upload {upload.id} goes on at byte {upload.offset:,}, not at {offset:,}.",
            hint="A HEAD of the upload answers with Upload-Offset.",
            errors=(FieldError("Upload-Offset", f"is {upload.offset}"),),
        )


def require_room(upload: schemas.Upload, end: int) -> None:
    """Raises TooLargeError for bytes that would lead beyond the upload's length."""
    if end > upload.length:
        raise TooLargeError(
            f"The upload {upload.id} has {upload.length:,} bytes, and more than that came.",
            hint="Upload-Length says its whole length; begin a new upload for another archive.",
        )


def new_piece(context: AppContext, upload: schemas.Upload) -> Path:
    """Where to write the next piece; nobody else writes there."""
    with context.db.read() as session:
        require_pieces(require_upload(context, session, upload.id))
    folder = context.storage.pieces(upload.id)
    folder.mkdir(exist_ok=True)
    return folder / f"{upload.offset:015d}-{str(ULID()).lower()}"


def require_pieces(row: Upload) -> None:
    """Raises ConflictError for one in so many pieces that reading the row costs more than they hold."""
    most = MOST_CUTS + row.length // LEAST_PIECE_BYTES
    if len(row.pieces) >= most:
        raise ConflictError(
            f"The upload {row.id} came in {len(row.pieces):,} pieces, the most for its length.",
            hint="Begin a new one and send larger pieces, such as of 64 MiB.",
        )


def keep_piece(context: AppContext, upload: schemas.Upload, piece: Path) -> schemas.Upload:
    """Counts a written piece once it is safe on the disk, and in the storage that hosts share.

    Raises ConflictError where another request was faster, NotFoundError where the upload was deleted.
    """
    try:
        sync(piece)
        sync(piece.parent)
        sync(piece.parent.parent)
        size = piece.stat().st_size
        context.storage.remote.upload(piece)
    except FileNotFoundError:  # the upload was given up meanwhile, with its folder
        raise no_upload(upload.id) from None
    with context.db.write() as session:
        row = require_upload(context, session, upload.id, is_held=True)
        require_offset(to_schema(row), upload.offset)
        row.received += size
        row.pieces = [*row.pieces, piece.name]
        row.expires_at = utc_now() + KEPT
        return to_schema(row)


def require_upload(context: AppContext, session: Session, upload_id: str, *, is_held: bool = False) -> Upload:
    """The row, if it is of the key that asks and has not expired; locked if ``is_held``.

    Raises NotFoundError.
    """
    query = select(Upload).where(Upload.id == upload_id, *_live(context))
    row = session.scalar(query.with_for_update() if is_held else query)
    if row is None:
        raise no_upload(upload_id)
    return row


def no_upload(upload_id: str) -> NotFoundError:
    return NotFoundError(f"There is no upload {upload_id!r}, or it has expired.", hint="Begin a new one.")


def to_schema(row: Upload) -> schemas.Upload:
    return schemas.Upload(
        id=row.id,
        name=row.name,
        length=row.length,
        offset=row.received,
        fingerprint=row.fingerprint,
        expires_at=row.expires_at,
        dataset=row.dataset_id,
    )


def _live(context: AppContext) -> tuple[ColumnElement[bool], ...]:
    """Of uploads: of the key that asks, and not expired."""
    key_id = context.db.caller.key_id
    is_own = Upload.key_id.is_(None) if key_id is None else Upload.key_id == key_id
    return is_own, Upload.expires_at > utc_now()
