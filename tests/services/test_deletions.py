"""Deleting datasets and products: what is refused, what goes with them, and what is left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from sqlalchemy import select
from ulid import ULID

from app.context import AppContext
from app.datasets.class_map import apply_class_map
from app.datasets.importer import import_dataset
from app.datasets.manifest import image_path, load_manifest
from app.datasets.sources import Limits
from app.datasets.tfrecord import ensure_records
from app.errors import ConflictError, NotFoundError
from app.jobs import deleted_datasets, garbage
from app.models import Alias, Dataset, Evaluation, Job, Product, TrainedModel
from app.models.base import new_id
from app.schemas.class_map import ClassMap
from app.schemas.evaluation import EvaluationCreate
from app.schemas.export import ExportCreate
from app.services import deletions, evaluations, exports
from app.services.aliases import move_alias
from tests.pictures import make_files, write_folder
from tests.services.rows import add_job, add_product, change_job, dump, read_job, train
from tests.stores import store_of

LONG_AGO = 2 * garbage.SCRATCH_SECONDS


@pytest.fixture
def champion(any_context: AppContext, tmp_path: Path) -> Job:
    """A training that has ended; its model is the champion."""
    return train(any_context, tmp_path)


def _model_of(context: AppContext, job: Job) -> str:
    with context.db.read() as session:
        return session.query(TrainedModel).filter_by(job_id=job.id).one().id


def _refused(context: AppContext, dataset: str, *, force: bool = False) -> ConflictError:
    before = dump(context)
    with pytest.raises(ConflictError) as refused:
        deletions.delete_dataset(context, dataset, force=force)
    assert dump(context) == before
    return refused.value


def test_a_dataset_that_nothing_depends_on_goes_and_is_then_not_there(any_context: AppContext) -> None:
    _, dataset = add_product(any_context)
    assert deletions.delete_dataset(any_context, dataset) == []
    with pytest.raises(NotFoundError):
        deletions.delete_dataset(any_context, dataset)


@pytest.mark.parametrize("status", ["queued", "running", "paused"])
def test_under_a_job_that_has_not_ended_no_dataset_goes_even_by_force(
    any_context: AppContext, status: str
) -> None:
    job = add_job(any_context)
    change_job(any_context, job, status=status)
    for force in (False, True):
        error = _refused(any_context, read_job(any_context, job).dataset, force=force)
        assert [(one.pointer, one.message) for one in error.errors] == [
            (f"/jobs/{job}", f"a training, {status}")
        ]
        assert "cancel" in str(error.hint)


def test_an_importing_dataset_names_the_job_to_cancel(any_context: AppContext) -> None:
    product, dataset = add_product(any_context)
    job = add_job(any_context, kind="import", product_id=product, dataset_id=dataset)
    with any_context.db.write() as session:
        session.get_one(Dataset, dataset).status = "importing"
    error = _refused(any_context, dataset, force=True)
    assert error.hint == f"Cancel job {job} first: `POST /jobs/{job}/cancel`."


@pytest.mark.parametrize("status", ["queued", "succeeded"])
def test_what_a_newer_release_made_is_left_to_it(any_context: AppContext, status: str) -> None:
    product, dataset = add_product(any_context)
    job = add_job(any_context, product_id=product, dataset_id=dataset)
    change_job(any_context, job, kind="of-tomorrow", status=status)
    for force in (False, True):
        with pytest.raises(ConflictError, match="does not know jobs of the kind 'of-tomorrow'"):
            deletions.delete_dataset(any_context, dataset, force=force)
        with pytest.raises(ConflictError, match="does not know jobs of the kind 'of-tomorrow'"):
            deletions.delete_product(any_context, product, force=force)
    assert read_job(any_context, job).status == status


def test_a_failed_import_goes_without_force_with_the_trainings_that_waited_for_it(
    any_context: AppContext,
) -> None:
    product, dataset = add_product(any_context)
    for kind, status in (("import", "cancelled"), ("training", "failed")):
        job = add_job(any_context, kind=kind, product_id=product, dataset_id=dataset)
        change_job(any_context, job, status=status)
    with any_context.db.write() as session:
        session.get_one(Dataset, dataset).status = "failed"
    deletions.delete_dataset(any_context, dataset)
    with any_context.db.read() as session:
        assert session.query(Job).count() == session.query(Dataset).count() == 0
    deletions.delete_product(any_context, product)


def test_a_dataset_whose_model_is_champion_does_not_go_even_by_force(
    any_context: AppContext, champion: Job
) -> None:
    model = _model_of(any_context, champion)
    for force in (False, True):
        error = _refused(any_context, champion.dataset, force=force)
        assert error.errors[0].pointer == f"/models/{model}"
        assert "champion" in error.errors[0].message
        assert "aliases" in str(error.hint)


def test_by_force_ended_jobs_go_with_models_and_files_and_evaluations_of_other_models(
    any_context: AppContext, champion: Job, tmp_path: Path
) -> None:
    context, product = any_context, champion.product_id
    with context.db.write() as session:
        other = Dataset(id=new_id("dst"), product_id=product, status="ready", source="q.zip")
        session.add(other)
    loser = train(context, tmp_path, product_id=product, dataset_id=other.id)
    if _model_of(context, loser) in _aliased(context, product):
        with context.db.write() as session:
            first = session.get_one(TrainedModel, _model_of(context, champion))
            move_alias(session, "champion", first, moved_by=None, reason=None)
    folder = context.storage.job(champion.id) / "evaluations" / "evl_x-0001"
    folder.mkdir(parents=True)
    failed = add_job(context, product_id=product, dataset_id=other.id)
    change_job(context, failed, status="failed")
    with context.db.write() as session:
        session.add(
            Evaluation(
                id=new_id("evl"),
                job_id=champion.id,
                model_id=_model_of(context, champion),
                dataset_id=other.id,
                is_final_test=False,
                folder=context.storage.relative(folder),
                report={},
            )
        )
    model = _model_of(context, loser)

    error = _refused(context, other.id)
    assert [one.pointer for one in error.errors] == [
        f"/models/{model}",
        f"/jobs/{champion.id}/evaluation",
        f"/jobs/{failed}",
    ]
    assert "force=true" in str(error.hint)

    assert deletions.delete_dataset(context, other.id, force=True) == [model]
    assert not folder.exists()
    assert not (context.storage.models / model).exists()
    assert not context.storage.job(loser.id).exists()
    with context.db.read() as session:
        assert session.query(Job.id).all() == [(champion.id,)]
        assert session.query(Evaluation.job_id).all() == [(champion.id,)]


def _aliased(context: AppContext, product: str) -> set[str]:
    with context.db.read() as session:
        return set(session.scalars(select(Alias.model_id).where(Alias.product_id == product)))


def test_a_model_that_a_job_elsewhere_starts_from_keeps_its_dataset(
    any_context: AppContext, champion: Job
) -> None:
    context, product = any_context, champion.product_id
    with context.db.write() as session:
        other = Dataset(id=new_id("dst"), product_id=product, status="ready", source="q.zip")
        session.add(other)
    reader = add_job(
        context,
        product_id=product,
        dataset_id=other.id,
        hyperparameters={"pretrained": _model_of(context, champion)},
    )
    error = _refused(context, champion.dataset, force=True)
    assert error.errors[0].pointer == f"/jobs/{reader}"


def test_what_is_asked_of_a_deleted_dataset_is_a_404(any_context: AppContext, champion: Job) -> None:
    _, gone = add_product(any_context)
    deletions.delete_dataset(any_context, gone)
    with pytest.raises(NotFoundError):
        exports.create_export(any_context, gone, ExportCreate(format="folders"))
    with pytest.raises(NotFoundError):
        evaluations.create_evaluation(any_context, champion.id, EvaluationCreate(dataset=gone))


def test_a_product_names_what_it_has_and_goes_by_force_with_its_champion(
    any_context: AppContext, champion: Job
) -> None:
    context, product = any_context, champion.product_id
    with pytest.raises(ConflictError) as refused:
        deletions.delete_product(context, product)
    pointers = [one.pointer for one in refused.value.errors]
    model = _model_of(context, champion)
    assert pointers == [f"/models/{model}", f"/datasets/{champion.dataset}", f"/jobs/{champion.id}"]

    active = add_job(context, product_id=product, dataset_id=champion.dataset)
    with pytest.raises(ConflictError, match="1 job has not ended"):
        deletions.delete_product(context, product, force=True)
    change_job(context, active, status="cancelled")

    assert deletions.delete_product(context, product, force=True) == [model]
    assert not any(dump(context).values())
    with context.db.read() as session:
        assert session.query(Product).count() == 0
    with pytest.raises(NotFoundError):
        deletions.delete_product(context, product, force=True)


def _import(context: AppContext, folder: Path, count: int) -> str:
    """A dataset of an hour's age and more, of ``count`` images a class."""
    product, _ = add_product(context)
    name = "dst_" + str(ULID.from_timestamp(time.time() - LONG_AGO)).lower()
    source = write_folder(folder / name, make_files(count))
    storage = context.storage
    out = storage.dataset(name)
    result = import_dataset(
        source, storage.images, out, storage.scratch / "x", Limits(), lambda _done, _part: None
    )
    storage.remote.upload_dataset(name)
    with context.db.write() as session:
        session.add(Dataset(id=name, product_id=product, status="ready", source="p", digest=result.digest))
    return name


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _age(context: AppContext) -> None:
    for folder in (context.storage.images, context.storage.datasets):
        for path in folder.rglob("*"):
            os.utime(path, (time.time() - LONG_AGO,) * 2)


def test_a_deleted_dataset_leaves_nothing_here_nor_in_the_storage(
    shared_context: AppContext, tmp_path: Path
) -> None:
    kept = _import(shared_context, tmp_path, 3)
    home, store = shared_context.storage.root, tmp_path / "shared"
    before = _files(home), _files(store)
    deleted = _import(shared_context, tmp_path, 5)
    whole = load_manifest(shared_context.storage.dataset(deleted))
    part = apply_class_map(whole, ClassMap(drop=(whole.classes[0],)))
    records = [
        ensure_records(dataset, shared_context.storage.images, (8, 8), shared_context.storage.records)
        for dataset in (whole, part)
    ]
    assert len(set(records)) == 2
    assert _files(home) > before[0]

    deletions.delete_dataset(shared_context, deleted)
    assert _files(store) == before[1]
    assert store_of(shared_context.storage).list_names("pictures") == [kept]

    deleted_datasets.remove_deleted_datasets(shared_context)
    assert len(_files(shared_context.storage.images)) == 15, "they are younger than a day"
    _age(shared_context)
    deleted_datasets.remove_deleted_datasets(shared_context)
    assert _files(home) - {"loupe.db-wal", "loupe.db-shm"} == before[0] - {"loupe.db-wal", "loupe.db-shm"}
    assert not any(folder.exists() for folder in records)


def test_what_an_outage_left_of_a_deleted_dataset_goes_from_the_storage_later(
    shared_context: AppContext, tmp_path: Path
) -> None:
    dataset = _import(shared_context, tmp_path, 3)
    with shared_context.db.write() as session:
        session.delete(session.get_one(Dataset, dataset))
    garbage.clean_storage(shared_context)
    assert [name for name in _files(tmp_path / "shared") if dataset in name] == []


def test_a_picture_that_an_import_found_a_moment_ago_is_not_collected(
    context: AppContext, tmp_path: Path
) -> None:
    """Its import has looked for its images, found them, and has not written its manifest yet."""
    deleted = _import(context, tmp_path, 3)
    manifest = load_manifest(context.storage.dataset(deleted))
    _age(context)
    deletions.delete_dataset(context, deleted)
    again = context.storage.scratch / "again"
    import_dataset(
        tmp_path / deleted, context.storage.images, again, context.storage.scratch / "y", Limits(),
        lambda _done, _part: None,
    )  # fmt: skip
    deleted_datasets.remove_deleted_datasets(context)
    there = [image_path(context.storage.images, item.sha256).exists() for item in manifest.items]
    assert all(there)
    assert context.storage.dataset(deleted).exists(), "it lists what is to be collected later"
