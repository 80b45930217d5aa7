"""Trainings: a network is trained, packaged and measured; its model is registered and may become champion."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.host import failpoints
from app.jobs.champion_comparison import find_answer, prepare_comparison, read_serving
from app.jobs.checkpoints import count_unsaved_attempts, download_newest_checkpoint, recorded_attempts
from app.jobs.claims import Claim, complete, hold_to_finish
from app.jobs.kinds.base import Kind, NotPreparedError, Preparation
from app.jobs.kinds.evaluation import new_evaluation_folder, publish_evaluation, upload_evaluation
from app.jobs.registration import new_model_folder, register_model
from app.jobs.waiting import resolve_waiting
from app.models import Evaluation, Job, JobEpoch, Product, TrainedModel
from app.models.base import new_id
from app.schemas.hyperparameters import ResolvedHyperparameters
from app.schemas.job_payloads import TrainingPayload
from app.services import promotion
from app.services.dataset_states import evaluation_dataset_of, tested_dataset
from app.services.products import promised_error
from app.storage.extractor import download_examination
from app.storage.model_folders import download_model
from app.storage.weights import download_weights
from app.training.result import TrainingResult
from app.training.spec import Devices, TrainingSpec


class Training(Kind[TrainingSpec, TrainingResult]):
    name = "training"
    module = "app.training"
    result_type = TrainingResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        resolve_waiting(context, claim)  # First: what cannot be trained needs no images.
        storage = context.storage
        with context.db.read() as session:
            job = session.get_one(Job, claim.job_id)
            attempts = recorded_attempts(storage, session, job)
            model = _find_initial_model(session, job)
        storage.remote.download_pictures(job.dataset)
        if (tested := evaluation_dataset_of(job)) is not None:
            storage.remote.download_pictures(tested)
        storage.remote.download(storage.job_split(job.id))
        download_newest_checkpoint(storage, attempts)
        if _start(job) == "imagenet":
            download_weights(storage, job.network or "")
        if (job.hyperparameters or {}).get("method") == "linear":
            download_examination(storage, job.dataset)
            storage.remote.download(storage.extractor)
        if model is not None:
            download_model(storage, storage.absolute(model.folder), model.digest)

    def build_spec(self, context: AppContext, claim: Claim) -> TrainingSpec:
        resolve_waiting(context, claim)  # Where hosts share nothing, nothing is downloaded.
        storage = context.storage
        with context.db.read() as session:
            job = session.get_one(Job, claim.job_id)
            payload = TrainingPayload.model_validate(job.payload)
            model = _find_initial_model(session, job)
            tested = evaluation_dataset_of(job)
            newest = select(func.max(JobEpoch.step)).where(JobEpoch.job_id == job.id)
            return TrainingSpec(
                job_id=job.id,
                product=job.product_id,
                network=job.network or "",
                hyperparameters=ResolvedHyperparameters.model_validate(job.hyperparameters),
                dataset=storage.dataset(job.dataset),
                image_root=storage.images,
                split=storage.job_split(job.id),
                evaluation_dataset=None if tested is None else storage.dataset(tested),
                class_map=payload.class_map,
                resize=payload.resize_rule,
                records_root=storage.records,
                checkpoint_root=storage.job_checkpoints(job.id) / f"{claim.fence:04d}",
                resume_from=tuple(root for root in recorded_attempts(storage, session, job) if root.is_dir()),
                logs=storage.job_logs(job.id) / f"{claim.fence:04d}",
                out=storage.attempt(job.id, claim.fence) / "artifact",
                devices=Devices(
                    kind="gpu" if claim.gpus else "cpu",
                    count=max(1, len(claim.gpus)),
                    is_required=claim.device == "gpu",
                ),
                weights_root=storage.weights,
                extractor=storage.extractor,
                max_error=promised_error(session.get_one(Product, job.product_id).max_error),
                until_epoch=payload.until_epoch,
                ends_as=payload.ends_as,
                tried_elsewhere=payload.tried_elsewhere,
                initial_model=storage.absolute(model.folder) if model else None,
                initial_model_digest=model.digest if model else None,
                # Since the last epoch that is stored, not the last step: a worker may be lost between a
                # step's line and its epoch's. A step that is reported again overwrites itself.
                reported_step=session.scalar(newest) or 0,
                # A training that is killed again and again gets further if it saves sooner each time.
                checkpoint_seconds=context.settings.checkpoint_seconds
                / 4 ** min(3, count_unsaved_attempts(session, job)),
            )

    def upload_results(self, context: AppContext, claim: Claim, result: TrainingResult) -> None:
        storage = context.storage
        upload_evaluation(storage, result.verification, new_evaluation_folder(storage, claim, claim.job_id))
        if result.artifact is not None:
            target = new_model_folder(storage, claim)
            storage.remote.upload(target, target if target.exists() else result.artifact)

    def prepare_end(self, context: AppContext, claim: Claim, result: TrainingResult) -> Preparation | None:
        return prepare_comparison(context, claim, result)

    def finish(self, context: AppContext, claim: Claim, result: TrainingResult) -> None:
        """Publishes the artifact and the evaluation that the child left, then ends the job.

        Files first, under a name that holds the fence; the row that makes them visible is written only while
        the claim still stands, so a stale worker leaves files that nobody sees. May be called again.
        """
        model_folder = new_model_folder(context.storage, claim)
        evaluation_folder = new_evaluation_folder(context.storage, claim, claim.job_id)
        failpoints.pass_by("finish.publishing")
        publish_evaluation(context.storage, result.verification, evaluation_folder)
        if result.artifact is not None and not model_folder.exists():
            context.storage.publish(result.artifact, model_folder)
        failpoints.pass_by("finish.published")
        if _register_training(context, claim, result, model_folder, evaluation_folder):
            _remove_siblings(context, model_folder)
        else:
            context.storage.discard(model_folder.parent)


def _start(job: Job) -> str:
    """What the training starts from: none, imagenet, or a model's id."""
    return str((job.hyperparameters or {}).get("pretrained", ""))


def _find_initial_model(session: Session, job: Job) -> TrainedModel | None:
    """The model whose weights the training starts from, if it names one that exists."""
    return session.get(TrainedModel, _start(job))


def _register_training(
    context: AppContext,
    claim: Claim,
    result: TrainingResult,
    model_folder: Path,
    evaluation_folder: Path,
) -> bool:
    """One transaction; False when no model is registered: the job was cancelled, or its gate discards it."""
    with context.db.write() as session:
        job = hold_to_finish(session, claim)
        if job is None:
            return False
        kept = {"weights_sha256", "epochs_run", "is_exact", "parity", "peak_memory_bytes"}
        ends_as = TrainingPayload.model_validate(job.payload).ends_as
        # Only its sweep stops a candidate.
        is_stopped = result.stop_reason == "stopped_by_user"
        job.stop_reason = ends_as if is_stopped and ends_as else result.stop_reason
        job.best = result.best.model_dump()
        job.result = result.model_dump(mode="json", include=kept)
        report = result.evaluation.model_dump(mode="json")
        decision = promotion.judge(
            session,
            job,
            report,
            read_serving(context, claim, result),
            partial(find_answer, context, claim),
        )
        if decision is None:
            raise NotPreparedError
        model = None
        if decision.keep:
            model = register_model(
                context,
                session,
                job,
                model_folder,
                metrics=asdict(result.evaluation.metrics),
                parity=result.parity,
            )
        promotion.carry_out(session, job, decision, model)
        session.add(
            Evaluation(
                id=new_id("evl"),
                job_id=job.id,
                model_id=model.id if model else None,
                dataset_id=tested_dataset(job),
                is_final_test=True,
                folder=context.storage.relative(evaluation_folder),
                report=report,
            )
        )
        complete(session, job, model=model.id if model else None, gate=job.gate)
    return model is not None


def _remove_siblings(context: AppContext, folder: Path) -> None:
    """What earlier attempts published in vain."""
    for other in context.storage.siblings(folder):
        context.storage.discard(other)
