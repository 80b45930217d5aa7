"""Datasets: accept an upload or a path, and read what an import made of it."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.datasets.roots import is_below
from app.errors import ConflictError, FieldError, ForbiddenError, InvalidRequestError
from app.host.files import sync
from app.job_queue import TASK_QUEUE
from app.models import Dataset, Job
from app.models.base import new_id
from app.schemas import dataset as schemas
from app.schemas.common import Page, problem_from_error
from app.schemas.import_choices import ImportChoices
from app.schemas.job_kinds import DATASET_MAKERS
from app.schemas.job_payloads import ImportPayload
from app.services.dataset_states import require_dataset
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import queue_job
from app.services.key_quotas import charge_dataset
from app.services.pages import fetch_page
from app.services.products import hold_product, require_product
from app.services.workers import has_first_release_worker


def import_upload(
    context: AppContext,
    product_id: str,
    upload: Path,
    filename: str,
    idempotent: IdempotentRequest | None = None,
    choices: ImportChoices | None = None,
    note: Callable[[Session, Dataset], None] | None = None,
) -> Answer:
    """Accepts an archive that already lies in the scratch folder; its import becomes a job.

    It reaches other hosts after the answer: see ``app/services/uploads.py``. ``note`` is called with the new
    row, in its transaction.
    """
    sync(upload)
    sync(upload.parent)
    try:
        _upload_for_first_release(context, upload)
        answer = _start_import(
            context, product_id, upload, filename, idempotent, choices, is_upload=True, note=note
        )
    except BaseException:
        context.storage.remove(upload)
        raise
    context.new_uploads.set()
    return answer


def import_path(
    context: AppContext,
    product_id: str,
    path: str,
    idempotent: IdempotentRequest | None = None,
    choices: ImportChoices | None = None,
) -> Answer:
    """Accepts a folder or archive on this machine, if it lies under an allowed root.

    Raises ForbiddenError for a key that is bound to products: any of them may have its images there.
    """
    caller = context.db.caller
    if caller.products is not None:
        raise ForbiddenError(
            f"The key {caller.name!r} is bound to products, and folders of the server are of all of them.",
            hint="Upload an archive, or use a key that is bound to no product.",
        )
    source = _allowed_path(context, path)
    return _start_import(context, product_id, source, path, idempotent, choices, is_upload=False)


def get_dataset(context: AppContext, dataset_id: str) -> schemas.Dataset:
    with context.db.read() as session:
        return to_schema(session, require_dataset(session, dataset_id))


def list_datasets(
    context: AppContext, product_id: str | None, *, limit: int, after: str | None
) -> Page[schemas.Dataset]:
    with context.db.read() as session:
        query = select(Dataset)
        if product_id is not None:
            require_product(session, product_id)
            query = query.where(Dataset.product_id == product_id)
        return fetch_page(
            session, query, Dataset.id, lambda row: to_schema(session, row), limit=limit, after=after
        )


def get_report(context: AppContext, dataset_id: str) -> schemas.DatasetReport:
    """What the import saw, also when it failed after reading; raises ConflictError while there is none."""
    with context.db.read() as session:
        is_ready = require_dataset(session, dataset_id).status == "ready"
    folder = context.storage.dataset(dataset_id)
    path = (context.storage.remote.download(folder) if is_ready else folder) / "report.json"
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConflictError(
            f"Dataset {dataset_id} has no report yet.", hint="Wait until its status is 'ready'."
        ) from error
    return schemas.DatasetReport(dataset=dataset_id, **report)


def to_schema(session: Session, dataset: Dataset) -> schemas.Dataset:
    job = session.scalar(select(Job.id).where(Job.dataset_id == dataset.id, Job.kind.in_(DATASET_MAKERS)))
    return schemas.Dataset(
        id=dataset.id,
        product=dataset.product_id,
        status=dataset.status,
        source=dataset.source,
        based_on=dataset.based_on,
        digest=dataset.digest,
        classes=[schemas.ClassCount(**entry) for entry in dataset.classes or []],
        counts=dataset.counts,
        items=dataset.items,
        skipped=dataset.skipped,
        examination=dataset.examination,
        job=job,
        error=problem_from_error(dataset.error, dataset.id) if dataset.error else None,
        created_at=dataset.created_at,
        ready_at=dataset.ready_at,
    )


def _start_import(
    context: AppContext,
    product_id: str,
    source: Path,
    name: str,
    idempotent: IdempotentRequest | None,
    choices: ImportChoices | None,
    *,
    is_upload: bool,
    note: Callable[[Session, Dataset], None] | None = None,
) -> Answer:
    with context.db.write() as session:
        if (before := recall(session, idempotent)) is not None:
            if is_upload:
                context.storage.remove(source)
            return before
        hold_product(session, product_id)
        chosen = (choices or ImportChoices()).model_dump(exclude_none=True)
        dataset = Dataset(id=new_id("dst"), product_id=product_id, status="importing", source=name[-1024:])
        charge_dataset(session, dataset)
        session.add(dataset)
        session.flush()
        if note is not None:
            note(session, dataset)
        job = Job(
            id=new_id("job"),
            kind="import",
            product_id=product_id,
            dataset_id=dataset.id,
            payload=ImportPayload(
                source=_name_upload(context, session, source) if is_upload else str(source),
                is_upload=is_upload,
                host=socket.gethostname(),
                **chosen,
            ).model_dump(mode="json", exclude_defaults=True),
        )
        queue_job(session, job)
        answer = Answer(to_schema(session, dataset).model_dump(mode="json"), f"/datasets/{dataset.id}")
        remember(session, idempotent, 202, answer)
    context.queue.enqueue(job.id, job.kind)
    return answer


def _name_upload(context: AppContext, session: Session, upload: Path) -> str:
    """Its path in the home folder, which may move; a first release on one host reads the whole path alone."""
    if context.settings.storage_url is None and has_first_release_worker(session, [TASK_QUEUE]):
        return str(upload)
    return context.storage.relative(upload)


def _upload_for_first_release(context: AppContext, upload: Path) -> None:
    """A worker of the first release does not wait for an upload: it must be in the storage before the job."""
    with context.db.read() as session:
        is_needed = has_first_release_worker(session, [TASK_QUEUE])
    if is_needed:
        context.storage.remote.upload(upload)


def _allowed_path(context: AppContext, path: str) -> Path:
    """The path without its links, at which the import then follows none. Raises InvalidRequestError."""
    roots = context.settings.dataset_roots
    resolved = _resolve(path)
    if resolved is None or not is_below(resolved, roots):
        allowed = ", ".join(str(root) for root in roots) or "none is set"
        raise InvalidRequestError(
            f"{path!r} is not under a folder that datasets may come from.",
            hint=f"Allowed roots (LOUPE_DATASET_ROOTS): {allowed}. Or upload an archive.",
            errors=(FieldError("/path", "not under an allowed root"),),
        )
    if (problem := _why_unusable(resolved)) is not None:
        raise InvalidRequestError(
            f"{path!r} {problem}.", errors=(FieldError("/path", "no file or folder that can be read"),)
        )
    return resolved


def _resolve(path: str) -> Path | None:
    """None for what can be no path: a user who does not exist, links in a circle, NUL."""
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        return None


def _why_unusable(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist on the server"
    except OSError as error:
        return f"cannot be reached on the server: {error.strerror}"
    return None if stat.S_ISDIR(mode) or stat.S_ISREG(mode) else "is neither a file nor a folder"
