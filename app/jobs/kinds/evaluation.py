"""Evaluations: a trained model is measured again, on its test split or on another dataset."""

from __future__ import annotations

from pathlib import Path

from app.context import AppContext
from app.evaluation.files import FILES
from app.evaluation.spec import EvaluationResult, EvaluationSpec
from app.host.files import link_or_copy
from app.jobs.claims import Claim, complete, hold_to_finish, read_claimed
from app.jobs.kinds.base import Kind
from app.models import Evaluation, Job, Product, TrainedModel
from app.schemas.job_payloads import EvaluationPayload
from app.services.dataset_states import tested_dataset
from app.services.products import promised_error
from app.storage.home import Storage
from app.storage.model_folders import download_model


class EvaluationKind(Kind[EvaluationSpec, EvaluationResult]):
    name = "evaluation"
    module = "app.evaluation"
    result_type = EvaluationResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        job, storage = read_claimed(context, claim), context.storage
        storage.remote.download_pictures(job.dataset)
        storage.remote.download(storage.job_split(_payload(job).job))
        if (trained := _trained_dataset(context, job)) is not None:
            storage.remote.download(storage.dataset(trained))
        model = _read_model(context, job)
        download_model(storage, storage.absolute(model.folder), model.digest)

    def build_spec(self, context: AppContext, claim: Claim) -> EvaluationSpec:
        job, storage = read_claimed(context, claim), context.storage
        model = _read_model(context, job)
        payload = _payload(job)
        on_test_split = payload.subset == "test"
        split, trained = storage.job_split(payload.job), _trained_dataset(context, job)
        return EvaluationSpec(
            artifact=storage.absolute(model.folder),
            artifact_digest=model.digest,
            image_root=storage.images,
            dataset=storage.dataset(job.dataset),
            split=split if on_test_split else None,
            subset="test" if on_test_split else None,
            max_error=_promised_error(context, job),
            trained=None if trained is None else (storage.dataset(trained), split),
            include_trained=payload.include_trained,
        )

    def upload_results(self, context: AppContext, claim: Claim, result: EvaluationResult) -> None:
        trained = _payload(read_claimed(context, claim)).job
        target = new_evaluation_folder(context.storage, claim, trained)
        upload_evaluation(context.storage, _attempt(context, claim), target)

    def finish(self, context: AppContext, claim: Claim, result: EvaluationResult) -> None:
        """Stores an evaluation that was asked for after the training."""
        payload = _payload(read_claimed(context, claim))
        evaluation_id = claim.job_id.replace("job_", "evl_", 1)
        target = new_evaluation_folder(context.storage, claim, payload.job)
        publish_evaluation(context.storage, _attempt(context, claim), target)
        with context.db.write() as session:
            if (job := hold_to_finish(session, claim)) is None:
                return
            session.add(
                Evaluation(
                    id=evaluation_id,
                    job_id=payload.job,
                    model_id=payload.model,
                    dataset_id=job.dataset,
                    is_final_test=_is_final_test(job, session.get_one(Job, payload.job)),
                    folder=context.storage.relative(target),
                    report=result.evaluation.model_dump(mode="json"),
                )
            )
            complete(session, job, evaluation=evaluation_id)


def new_evaluation_folder(storage: Storage, claim: Claim, trained_job: str) -> Path:
    """Where an evaluation goes: the final one of a training, or one that was asked for later."""
    name = "final" if claim.job_id == trained_job else claim.job_id.replace("job_", "evl_", 1)
    return storage.job(trained_job) / "evaluations" / f"{name}-{claim.fence:04d}"


def publish_evaluation(storage: Storage, source: Path, target: Path) -> None:
    """Moves the files of an evaluation out of its working folder, unless that was done before."""
    if target.exists():
        return
    with storage.scratch_folder("evaluation") as aside:
        for name in FILES:
            (source / name).rename(aside / name)
        storage.publish(aside, target)


def upload_evaluation(storage: Storage, source: Path, target: Path) -> None:
    """Shows to other hosts the files of an evaluation that lie in ``source``, or in ``target`` already."""
    if target.exists():
        storage.remote.upload(target)
        return
    with storage.scratch_folder("evaluation") as scratch:
        for name in FILES:
            link_or_copy(source / name, scratch / name)
        storage.remote.upload(target, scratch)


def _attempt(context: AppContext, claim: Claim) -> Path:
    return context.storage.attempt(claim.job_id, claim.fence)


def _is_final_test(job: Job, trained: Job) -> bool:
    """The final test of a model that was imported was elsewhere."""
    return trained.dataset_id is not None and job.dataset == tested_dataset(trained)


def _trained_dataset(context: AppContext, job: Job) -> str | None:
    """The dataset whose images the model may have trained on; None where it is not this one's affair.

    Of the training's own dataset only the test split is measured; a model from elsewhere trained elsewhere.
    """
    payload = _payload(job)
    if payload.subset == "test":
        return None
    with context.db.read() as session:
        return session.get_one(Job, payload.job).dataset_id


def _payload(job: Job) -> EvaluationPayload:
    return EvaluationPayload.model_validate(job.payload)


def _read_model(context: AppContext, job: Job) -> TrainedModel:
    with context.db.read() as session:
        return session.get_one(TrainedModel, _payload(job).model)


def _promised_error(context: AppContext, job: Job) -> float:
    with context.db.read() as session:
        return promised_error(session.get_one(Product, job.product_id).max_error)
