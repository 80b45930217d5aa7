"""Datasets of uploads that came in pieces: put together, then imported as any archive."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import BusyError, ConflictError, StorageFullError
from app.models import Dataset, Job
from app.models.base import utc_now
from app.schemas import upload as schemas
from app.schemas.import_choices import ImportChoices
from app.schemas.job_kinds import DATASET_MAKERS
from app.services import datasets
from app.services.idempotency import Answer, IdempotentRequest
from app.services.resumable_uploads import KEPT, delete_upload, get_upload, require_upload, to_schema

COPIED_BYTES = 2**20


class _ImportedError(Exception):
    """Another request made a dataset of the upload while this one put its pieces together."""


class _PiecesGoneError(Exception):
    """The row names pieces that are nowhere."""


def import_sent(
    context: AppContext,
    product_id: str,
    upload_id: str,
    idempotent: IdempotentRequest | None,
    choices: ImportChoices,
) -> Answer:
    """Imports an upload that is here to its last byte; asked again, it answers with the same dataset.

    Raises ConflictError while some of it is missing, and where it became another dataset than is asked for;
    BusyError while another request puts it together.
    """
    get_upload(context, upload_id)  # What is of another key leaves no folder here.
    with _joining_alone(context, upload_id):
        return _import_alone(context, product_id, upload_id, idempotent, choices)


def _import_alone(
    context: AppContext,
    product_id: str,
    upload_id: str,
    idempotent: IdempotentRequest | None,
    choices: ImportChoices,
) -> Answer:
    with context.db.read() as session:
        row = require_upload(context, session, upload_id)
        upload, pieces = to_schema(row), list(row.pieces)
    if upload.dataset is not None:
        context.storage.discard(context.storage.pieces(upload_id))
        return _answer_again(context, upload, product_id, choices)
    if upload.offset < upload.length:
        raise ConflictError(
            f"Of the upload {upload_id} {upload.offset:,} of {upload.length:,} bytes are here.",
            hint=f"Send the rest, from byte {upload.offset} on.",
        )

    def note_dataset(session: Session, dataset: Dataset) -> None:
        row = require_upload(context, session, upload_id, is_held=True)
        if row.dataset_id is not None:
            raise _ImportedError
        row.dataset_id = dataset.id
        row.expires_at = utc_now() + KEPT

    _require_space(context, upload)
    try:
        whole = _join(context, upload, pieces)
        answer = datasets.import_upload(
            context, product_id, whole, upload.name, idempotent, choices, note_dataset
        )
    except (_ImportedError, _PiecesGoneError) as error:
        # Only requests of one host wait for each other.
        upload = get_upload(context, upload_id)
        if upload.dataset is not None:
            return _answer_again(context, upload, product_id, choices)
        # A client that finds it again by its fingerprint would send nothing, for ever.
        delete_upload(context, upload_id)
        raise ConflictError(
            f"Pieces of the upload {upload_id} are lost.", hint="Send the archive again, as a new upload."
        ) from error
    context.storage.discard(context.storage.pieces(upload_id))
    return answer


@contextmanager
def _joining_alone(context: AppContext, upload_id: str) -> Iterator[None]:
    """While the block runs, no other request of this host copies the pieces. Raises BusyError."""
    folder = context.storage.pieces(upload_id)
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # The lock goes with the process, however that ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BusyError(
            f"The upload {upload_id} is being imported by another request.",
            hint="Ask again in a few seconds: the answer is the same dataset.",
        ) from None
    finally:
        os.close(descriptor)


def _require_space(context: AppContext, upload: schemas.Upload) -> None:
    if upload.length > (free := shutil.disk_usage(context.storage.scratch).free):
        raise StorageFullError(
            f"The archive has {upload.length:,} bytes to put together; the server's disk has {free:,} free.",
            hint="Make room on the server; what was sent stays.",
        )


def _answer_again(
    context: AppContext, upload: schemas.Upload, product_id: str, choices: ImportChoices
) -> Answer:
    with context.db.read() as session:
        dataset = session.get(Dataset, upload.dataset)
        job = session.scalar(
            select(Job).where(Job.dataset_id == upload.dataset, Job.kind.in_(DATASET_MAKERS))
        )
        if dataset is None or job is None:
            raise ConflictError(
                f"The upload {upload.id} became dataset {upload.dataset}, which was deleted since.",
                hint="Send the archive again, as a new upload.",
            )
        chosen = ImportChoices.model_validate(
            {name: job.payload.get(name) for name in ImportChoices.model_fields}
        )
        if dataset.product_id != product_id or chosen != choices:
            raise ConflictError(
                f"The upload {upload.id} became dataset {dataset.id} of {dataset.product_id} before, and not "
                "with what is asked for now.",
                hint="Retry its import if it failed (`POST /jobs/<id>/retry`), or send the archive again, as "
                "a new upload.",
            )
        again = datasets.to_schema(session, dataset)
    return Answer(again.model_dump(mode="json"), f"/datasets/{again.id}")


def _join(context: AppContext, upload: schemas.Upload, pieces: list[str]) -> Path:
    """The pieces as one new file. Raises _PiecesGoneError."""
    target = context.storage.upload()
    folder = context.storage.pieces(upload.id)
    try:
        with target.open("wb") as whole:
            for name in pieces:
                with context.storage.remote.download(folder / name).open("rb") as piece:
                    shutil.copyfileobj(piece, whole, COPIED_BYTES)
            if whole.tell() != upload.length:
                raise _PiecesGoneError
    except FileNotFoundError as error:
        target.unlink(missing_ok=True)
        raise _PiecesGoneError from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target
