"""What a child process is told: one function a kind of job builds its ``spec.json``."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.jobs.claims import Claim
from app.jobs.waiting import resolve_waiting
from app.models import Job, JobEpoch, JobEvent, TrainedModel
from app.storage.home import Storage

MODULES = {
    "training": "app.training",
    "import": "app.datasets",
    "evaluation": "app.evaluation",
    "export": "app.datasets",
}


def build_spec(context: AppContext, claim: Claim) -> dict[str, Any]:
    """The spec of a claimed job."""
    resolve_waiting(context, claim)
    with context.db.read() as session:
        job = session.get_one(Job, claim.job_id)
        match job.kind:
            case "training":
                return _training(context, session, job, claim)
            case "import":
                return _import(context, job)
            case "export":
                return _export(context, job)
            case _:
                return _evaluation(context, session, job)


def _training(context: AppContext, session: Session, job: Job, claim: Claim) -> dict[str, Any]:
    storage = context.storage
    return {
        "job_id": job.id,
        "product": job.product_id,
        "network": job.network,
        "hyperparameters": job.hyperparameters,
        "dataset": str(storage.dataset(job.dataset)),
        "image_root": str(storage.images),
        "split": str(storage.job_split(job.id)),
        "records_root": str(storage.records),
        "checkpoint_root": str(storage.job_checkpoints(job.id) / f"{job.fence:04d}"),
        "resume_from": [str(root) for root in recorded_attempts(storage, session, job) if root.is_dir()],
        "logs": str(storage.job_logs(job.id) / f"{job.fence:04d}"),
        "out": str(storage.attempt(job.id, job.fence) / "artifact"),
        "devices": {
            "kind": "gpu" if claim.gpus else "cpu",
            "count": max(1, len(claim.gpus)),
            "is_required": claim.device == "gpu",
        },
        "weights_root": str(storage.weights),
        "initial_model": _initial_model(context, session, job),
        # Since the last epoch that is stored, not the last step: a worker may be lost between a step's line
        # and its epoch's. A step that is reported again overwrites itself.
        "reported_step": session.scalar(select(func.max(JobEpoch.step)).where(JobEpoch.job_id == job.id))
        or 0,
        # A training that is killed again and again gets further if it saves sooner each time.
        "checkpoint_seconds": context.settings.checkpoint_seconds
        / 4 ** min(3, _unsaved_attempts(session, job)),
    }


def _initial_model(context: AppContext, session: Session, job: Job) -> str | None:
    """The folder of the model whose weights the training starts from, if it names one that exists."""
    model = session.get(TrainedModel, (job.hyperparameters or {}).get("pretrained", ""))
    return None if model is None else str(context.storage.absolute(model.folder))


def _unsaved_attempts(session: Session, job: Job) -> int:
    """Attempts before this one since the last checkpoint."""
    types = session.scalars(
        select(JobEvent.type)
        .where(
            JobEvent.job_id == job.id,
            or_(
                JobEvent.type == "checkpoint",
                and_(JobEvent.type == "status", JobEvent.data["status"].as_string() == "running"),
            ),
        )
        .order_by(JobEvent.number.desc())
        .limit(5)
    ).all()
    return max(0, len(list(takewhile(lambda kind: kind == "status", types))) - 1)


def recorded_attempts(storage: Storage, session: Session, job: Job) -> list[Path]:
    """The folders of attempts that recorded a checkpoint, newest first; in each the newest is tried first."""
    rows = session.scalars(
        select(JobEvent.data)
        .where(
            JobEvent.job_id == job.id,
            JobEvent.type == "checkpoint",
            JobEvent.number > job.payload.get("forget_checkpoints_until", 0),
        )
        .order_by(JobEvent.number.desc())
    )
    # By the name of the attempt: the host that made them may have had its home folder elsewhere.
    root = storage.job_checkpoints(job.id)
    return list(dict.fromkeys(root / Path(row["folder"]).parent.name for row in rows))


def _import(context: AppContext, job: Job) -> dict[str, Any]:
    settings = context.settings
    return {
        "kind": "import",
        "source": str(context.storage.absolute(job.payload["source"])),
        "image_root": str(context.storage.images),
        "out": str(context.storage.dataset(job.dataset)),
        "limits": {
            "max_entries": settings.max_dataset_items,
            "max_total_bytes": settings.max_unpacked_bytes,
        },
    }


def _export(context: AppContext, job: Job) -> dict[str, Any]:
    trained = job.payload["job"]
    return {
        "kind": "export",
        "dataset": str(context.storage.dataset(job.dataset)),
        "image_root": str(context.storage.images),
        "format": job.payload["format"],
        "image_size": job.payload["image_size"],
        "compression": job.payload["compression"],
        "split": str(context.storage.job_split(trained)) if trained else None,
        "out": str(context.storage.job_export(job.id)),
    }


def _evaluation(context: AppContext, session: Session, job: Job) -> dict[str, Any]:
    model = session.get_one(TrainedModel, job.payload["model"])
    subset = job.payload["subset"]
    return {
        "artifact": str(context.storage.absolute(model.folder)),
        "artifact_digest": model.digest,
        "image_root": str(context.storage.images),
        "dataset": str(context.storage.dataset(job.dataset)),
        "split": str(context.storage.job_split(job.payload["job"])) if subset == "test" else None,
        "subset": "test" if subset == "test" else None,
    }
