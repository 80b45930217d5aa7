"""Whether a new model is good enough: the one place that decides about gates and champions.

Three steps: ``judge`` gathers the figures, ``decide`` decides from them alone, ``carry_out`` writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.models import Alias, Job, TrainedModel
from app.models.alias import CHAMPION
from app.schemas.job import GateResult, GateRules
from app.services.aliases import move_alias
from app.services.products import lock_product


@dataclass(frozen=True)
class Figures:
    """What a model is judged by. ``accuracy`` was measured on its own test pictures, as it is served."""

    accuracy: float


@dataclass(frozen=True)
class Champion:
    """The model that answers predictions now."""

    model: str
    figures: Figures


@dataclass(frozen=True)
class Decision:
    """What becomes of a new model. ``reasons`` are sentences for the job."""

    passed: bool
    becomes_champion: bool
    keep: bool
    reasons: tuple[str, ...] = ()


def judge(session: Session, job: Job, evaluation: dict[str, Any], *, has_artifact: bool) -> Decision:
    """Decides about the model of ``job``, which ``evaluation`` measured.

    Without an artifact, which a child of an older version leaves of a failing model, nothing can be kept.
    Holds the product's row until the end of the transaction: of two jobs that end at the same moment the
    second is compared with the champion that the first has made.
    """
    lock_product(session, job.product_id)
    rules = rules_of(job)
    if not has_artifact:
        rules = rules.model_copy(update={"on_failure": "discard"})
    return decide(rules, _figures(evaluation["metrics"]), _find_champion(session, job.product_id))


def rules_of(job: Job) -> GateRules:
    """The gate that the job was submitted with; the first release stored only the least accuracy."""
    stored = job.gate_rules or {"min_accuracy": (job.hyperparameters or {}).get("min_accuracy")}
    return GateRules(**{name: stored[name] for name in GateRules.model_fields.keys() & stored})


def read_gate(job: Job, *, has_model: bool) -> GateResult | None:
    """What the gate of ``job`` decided.

    The first release called a model failed that was only worse than the champion; it saved no other.
    """
    if job.gate is None:
        return None
    result = GateResult(**{name: job.gate[name] for name in GateResult.model_fields.keys() & job.gate})
    return (
        result.model_copy(update={"passed": True}) if result.became_champion is None and has_model else result
    )


def decide(rules: GateRules, candidate: Figures, champion: Champion | None) -> Decision:
    """Under the least accuracy a model fails; one that passes becomes champion if it is no worse than it."""
    least = rules.min_accuracy or 0.0
    if candidate.accuracy < least:
        keep = rules.on_failure == "keep"
        end = "the model is kept, and no alias points at it" if keep else "no model was saved"
        reason = f"Test accuracy {candidate.accuracy:.4f} is below min_accuracy {least:.4f}: {end}."
        return Decision(passed=False, becomes_champion=False, keep=keep, reasons=(reason,))
    if champion is not None and candidate.accuracy < champion.figures.accuracy:
        reason = (
            f"Test accuracy {candidate.accuracy:.4f} is below the {champion.figures.accuracy:.4f} "
            f"of the champion {champion.model}: the model is saved but does not become champion."
        )
        return Decision(passed=True, becomes_champion=False, keep=True, reasons=(reason,))
    return Decision(passed=True, becomes_champion=True, keep=True)


def carry_out(session: Session, job: Job, decision: Decision, model: TrainedModel | None) -> None:
    """Writes the decision to the job, to its model if that is kept, and to the champion."""
    became_champion = model is not None and decision.becomes_champion
    if model is not None:
        model.passed_gate = decision.passed
        if became_champion:
            accuracy = model.metrics["accuracy"]["value"]
            reason = " ".join(decision.reasons) or f"Its test accuracy of {accuracy:.4f} passed the gate."
            move_alias(session, CHAMPION, model, moved_by=job.id, reason=reason)
    job.gate = GateResult(
        passed=decision.passed, reasons=list(decision.reasons), became_champion=became_champion
    ).model_dump(mode="json")


def _figures(metrics: dict[str, Any]) -> Figures:
    return Figures(accuracy=metrics["accuracy"]["value"])


def _find_champion(session: Session, product_id: str) -> Champion | None:
    alias = session.get(Alias, (product_id, CHAMPION), with_for_update=True)
    if alias is None:
        return None
    model = session.get_one(TrainedModel, alias.model_id)
    return Champion(model.id, _figures(model.metrics))
