"""The good end of a training or an evaluation: publish files, register the model, decide the champion."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.artifacts import open_artifact
from app.context import AppContext
from app.evaluation.files import FILES as EVALUATION_FILES
from app.host import failpoints
from app.jobs.claims import Claim, complete, hold_to_finish
from app.models import Evaluation, Job, TrainedModel
from app.models.base import new_id
from app.services import promotion
from app.services.job_states import append_event
from app.storage.home import Storage


def finish_training(context: AppContext, claim: Claim, result: dict[str, Any]) -> None:
    """Publishes the artifact and the evaluation that the child left, then ends the job.

    Files first, under a name that holds the fence; the row that makes them visible is written only while the
    claim still stands, so a stale worker leaves files that nobody sees. May be called again after an outage.
    """
    model_folder = new_model_folder(context.storage, claim)
    model_id = model_folder.parent.name
    evaluation_folder = new_evaluation_folder(context.storage, claim, claim.job_id)
    failpoints.pass_by("finish.publishing")
    _publish_evaluation(context, Path(result["verification"]), evaluation_folder)
    if result["artifact"] is not None and not model_folder.exists():
        context.storage.publish(Path(result["artifact"]), model_folder)
    failpoints.pass_by("finish.published")
    if _register_training(context, claim, result, model_id, model_folder, evaluation_folder):
        _remove_siblings(context, model_folder)
    else:
        context.storage.discard(model_folder.parent)


def new_model_folder(storage: Storage, claim: Claim) -> Path:
    """Where the model of a training goes; the fence in it keeps a stale writer out."""
    return storage.models / claim.job_id.replace("job_", "mdl_", 1) / f"{claim.fence:04d}"


def new_evaluation_folder(storage: Storage, claim: Claim, trained_job: str) -> Path:
    """Where an evaluation goes: the final one of a training, or one that was asked for later."""
    name = "final" if claim.job_id == trained_job else claim.job_id.replace("job_", "evl_", 1)
    return storage.job(trained_job) / "evaluations" / f"{name}-{claim.fence:04d}"


def _register_training(
    context: AppContext,
    claim: Claim,
    result: dict[str, Any],
    model_id: str,
    model_folder: Path,
    evaluation_folder: Path,
) -> bool:
    """One transaction; False when no model is registered: the job was cancelled, or its gate discards it."""
    with context.db.write() as session:
        job = hold_to_finish(session, claim)
        if job is None:
            return False
        job.stop_reason = result["stop_reason"]
        job.best = result["best"]
        job.result = {name: result[name] for name in ("weights_sha256", "epochs_run", "is_exact", "parity")}
        has_artifact = result["artifact"] is not None
        decision = promotion.judge(session, job, result["evaluation"], has_artifact=has_artifact)
        model = None
        if decision.keep:
            model = _register(context, session, job, model_id, model_folder, result)
        promotion.carry_out(session, job, decision, model)
        session.add(
            Evaluation(
                id=new_id("evl"),
                job_id=job.id,
                model_id=model.id if model else None,
                dataset_id=job.dataset_id,
                is_final_test=True,
                folder=context.storage.relative(evaluation_folder),
                report=result["evaluation"],
            )
        )
        complete(session, job, model=model.id if model else None, gate=job.gate)
    return model is not None


def _remove_siblings(context: AppContext, folder: Path) -> None:
    """What earlier attempts published in vain."""
    for other in context.storage.siblings(folder):
        context.storage.discard(other)


def finish_evaluation(context: AppContext, claim: Claim, result: dict[str, Any], folder: Path) -> None:
    """Stores an evaluation that was asked for after the training."""
    with context.db.read() as session:
        payload = session.get_one(Job, claim.job_id).payload
    evaluation_id = claim.job_id.replace("job_", "evl_", 1)
    target = new_evaluation_folder(context.storage, claim, payload["job"])
    _publish_evaluation(context, folder, target)
    with context.db.write() as session:
        if (job := hold_to_finish(session, claim)) is None:
            return
        session.add(
            Evaluation(
                id=evaluation_id,
                job_id=payload["job"],
                model_id=payload["model"],
                dataset_id=job.dataset_id,
                is_final_test=payload["subset"] == "test",
                folder=context.storage.relative(target),
                report=result["evaluation"],
            )
        )
        complete(session, job, evaluation=evaluation_id)


def _publish_evaluation(context: AppContext, source: Path, target: Path) -> None:
    """Moves the files of an evaluation out of its working folder, unless that was done before."""
    if target.exists():
        return
    with context.storage.scratch_folder("evaluation") as aside:
        for name in EVALUATION_FILES:
            (source / name).rename(aside / name)
        context.storage.publish(aside, target)


def _register(
    context: AppContext, session: Session, job: Job, model_id: str, folder: Path, result: dict[str, Any]
) -> TrainedModel:
    artifact = open_artifact(folder, verify=False)
    newest = session.scalar(
        select(func.max(TrainedModel.version)).where(TrainedModel.product_id == job.product_id)
    )
    manifest = artifact.manifest
    model = TrainedModel(
        id=model_id,
        product_id=job.product_id,
        job_id=job.id,
        dataset_id=job.dataset_id,
        version=(newest or 0) + 1,
        network=manifest.network,
        folder=context.storage.relative(folder),
        digest=artifact.digest,
        weights_sha256=result["weights_sha256"],
        bytes=sum(file.stat().st_size for file in folder.iterdir()),
        labels=list(manifest.labels),
        metrics=result["evaluation"]["metrics"],
        serving={**asdict(manifest.serving), "parity": result["parity"]},
    )
    session.add(model)
    session.flush()
    append_event(session, job, "model", model=model.id, version=model.version)
    return model
