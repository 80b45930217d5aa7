"""New versions of a dataset, and what differs between two."""

from __future__ import annotations

from contextlib import ExitStack

from app.context import AppContext
from app.datasets.differences import Change, compare, count_changes
from app.errors import FieldError, InvalidRequestError
from app.host.files import make_folder, write_json
from app.models import Dataset, Job
from app.models.base import new_id
from app.schemas.dataset_diff import ClassDifference, DatasetDiff, ItemDifference
from app.schemas.dataset_edits import DatasetRevision
from app.schemas.job_kinds import REVISION
from app.schemas.job_payloads import RevisionPayload
from app.services.dataset_manifests import read_manifest
from app.services.dataset_states import hold_dataset, require_ready
from app.services.datasets import to_schema
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import queue_job
from app.services.key_quotas import charge_dataset
from app.services.pages import decode_offset, encode_cursor


def create_version(
    context: AppContext,
    dataset_id: str,
    request: DatasetRevision,
    idempotent: IdempotentRequest | None = None,
) -> Answer:
    """Queues the making of a new dataset; what is impossible, such as an unknown image, fails the job."""
    sources = (dataset_id, *request.add)
    if len(set(sources)) < len(sources):
        raise InvalidRequestError(
            "A dataset is named twice.",
            hint="Name each dataset that joins once, and not the edited one.",
            errors=(FieldError("/add", "a dataset twice"),),
        )
    storage, job_id = context.storage, new_id("job")
    with ExitStack() as undo:
        undo.callback(storage.discard, storage.job(job_id))
        make_folder(storage.job(job_id))
        write_json(storage.job_edits(job_id), request.edits.model_dump(mode="json", exclude_defaults=True))
        storage.remote.upload(storage.job_edits(job_id))
        with context.db.write() as session:
            if (before := recall(session, idempotent)) is not None:
                return before
            # In one order, which is that of a deletion: two requests cannot wait for each other.
            held = {name: require_ready(hold_dataset(session, name)) for name in sorted(sources)}
            edited = held[dataset_id]
            _check_product(edited, [held[name] for name in request.add])
            dataset = Dataset(
                id=new_id("dst"),
                product_id=edited.product_id,
                status="importing",
                source=f"new version of {dataset_id}",
                based_on=dataset_id,
            )
            charge_dataset(session, dataset)
            session.add(dataset)
            session.flush()
            job = Job(
                id=job_id,
                kind=REVISION,
                product_id=edited.product_id,
                dataset_id=dataset.id,
                payload=RevisionPayload(sources=sources).model_dump(mode="json", exclude_defaults=True),
            )
            queue_job(session, job)
            answer = Answer(to_schema(session, dataset).model_dump(mode="json"), f"/datasets/{dataset.id}")
            remember(session, idempotent, 202, answer)
        undo.pop_all()
    context.queue.enqueue(job.id, job.kind)
    return answer


def _check_product(edited: Dataset, added: list[Dataset]) -> None:
    for other in added:
        if other.product_id != edited.product_id:
            raise InvalidRequestError(
                f"Dataset {other.id} is of product {other.product_id!r}, not {edited.product_id!r}.",
                hint="Import its images into this product.",
                errors=(FieldError("/add", f"{other.id} is of another product"),),
            )


def compare_datasets(
    context: AppContext,
    before_id: str,
    after_id: str,
    *,
    change: Change | None,
    limit: int,
    after: str | None,
) -> DatasetDiff:
    """What became of the images of one dataset in another, told by content."""
    start = decode_offset(after)
    before, now = read_manifest(context, before_id), read_manifest(context, after_id)
    differences = compare(before, now)
    listed = [each for each in differences if change in (None, each.change)]
    has_more = start + limit < len(listed)
    old, new = before.class_counts, now.class_counts
    return DatasetDiff(
        before=before_id,
        after=after_id,
        counts=dict(count_changes(differences)),
        classes=[
            ClassDifference(name=name, before=old.get(name, 0), after=new.get(name, 0))
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ],
        data=[
            ItemDifference(
                change=each.change,
                name=each.item.name,
                sha256=each.item.sha256,
                before=each.before and each.before.id,
                after=each.after and each.after.id,
                label_before=each.before and each.before.label,
                label_after=each.after and each.after.label,
                split_before=each.before and each.before.split,
                split_after=each.after and each.after.split,
            )
            for each in listed[start : start + limit]
        ],
        has_more=has_more,
        next_cursor=encode_cursor(str(start + limit)) if has_more else None,
    )
