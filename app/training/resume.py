"""Choosing the checkpoint to continue from, and saying how far the result will be the same."""

from __future__ import annotations

from typing import Any

from app.child import Reporter
from app.schemas.progress_lines import ResumedLine, WarningLine
from app.training.checkpoints import Checkpoint, CheckpointError, find_checkpoints, read_checkpoint
from app.training.device import Device
from app.training.fit import Fit
from app.training.spec import Identity, TrainingSpec


def resume(fit: Fit, spec: TrainingSpec, identity: Identity, device: Device, reporter: Reporter) -> None:
    """Restores the newest checkpoint that is whole and of this training; else leaves step 0. Says which."""
    for folder in find_checkpoints(spec.resume_from):
        try:
            checkpoint = read_checkpoint(folder)
            _check_identity(checkpoint, identity)
            fit.restore(checkpoint)
        except (CheckpointError, KeyError, TypeError, ValueError) as error:
            reporter.emit(WarningLine(message=f"The checkpoint {folder.name} is not used: {error}."))
            continue
        changes = _compare_environments(checkpoint.state["environment"], device.environment())
        is_repeatable = device.kind == "cpu" and device.is_deterministic and len(device.replicas) == 1
        fit.is_exact = fit.is_exact and is_repeatable and not changes
        at = fit.position
        reporter.emit(ResumedLine(step=at.step, epoch=at.epoch, exact=fit.is_exact, **{"from": str(folder)}))
        if changes or not is_repeatable:
            reason = "; ".join(changes) or "determinism is off, or the device is no single processor"
            message = f"The resume is statistical, the weights will not be bit-equal: {reason}."
            reporter.emit(WarningLine(message=message))
        return
    if spec.resume_from:
        reporter.emit(WarningLine(message="No checkpoint could be used; training starts from step 0."))


def _check_identity(checkpoint: Checkpoint, identity: Identity) -> None:
    differences = identity.differences(checkpoint.state["identity"])
    if differences:
        raise CheckpointError(f"it belongs to a training with another {' and '.join(differences)}")


def _compare_environments(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = sorted(then.keys() | now.keys())
    return [
        f"{name} was {then.get(name)}, is {now.get(name)}"
        for name in names
        if then.get(name) != now.get(name)
    ]
