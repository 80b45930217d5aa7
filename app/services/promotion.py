"""Whether a new model is good enough: the one place that decides about gates and champions.

Three steps: ``judge`` gathers the figures, ``decide`` decides from them alone, ``carry_out`` writes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Alias, Evaluation, Job, TrainedModel
from app.models.alias import CHAMPION
from app.schemas.job import GateResult, GateRules
from app.schemas.job_payloads import TrainingPayload
from app.services import webhook_events
from app.services.aliases import move_alias
from app.services.dataset_states import tested_dataset
from app.services.products import lock_product

STAYS = "the model is saved but does not become champion."
LOST = "It lost its sweep by validation: only the winner of a sweep may become champion."
SHOWN_CLASSES = 10


@dataclass(frozen=True)
class Figures:
    """What a model is judged by: its answers to its own test images, measured as it is served.

    ``labels``: the classes that it knows. ``counts[i][j]``: images of class ``labels[i]`` that were answered
    with ``labels[j]``, then a row of each class that it does not know; empty where the evaluation is not
    there any more.
    """

    accuracy: float
    dataset: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...] = ()

    def accuracy_on(self, classes: Collection[str]) -> float | None:
        """The accuracy on the images of some classes, of all answers; None where there are no images."""
        rows = [index for index, label in enumerate(self.labels) if label in classes]
        if not self.counts or not (items := sum(sum(self.counts[row]) for row in rows)):
            return None
        return sum(self.counts[row][row] for row in rows) / items


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
    figures = _figures(tested_dataset(job), evaluation)
    decision = decide(rules, figures, _find_champion(session, job.product_id))
    if decision.passed and TrainingPayload.model_validate(job.payload).ends_as == "pruned":
        return Decision(passed=True, becomes_champion=False, keep=decision.keep, reasons=(LOST,))
    return decision


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
    """Under the least accuracy a model fails; one that passes becomes champion if that one is no better."""
    least = rules.min_accuracy or 0.0
    if candidate.accuracy < least:
        keep = rules.on_failure == "keep"
        end = "the model is kept, and no alias points at it" if keep else "no model was saved"
        reason = f"Test accuracy {candidate.accuracy:.4f} is below min_accuracy {least:.4f}: {end}."
        return Decision(passed=False, becomes_champion=False, keep=keep, reasons=(reason,))
    becomes_champion, reasons = (True, []) if champion is None else compare(candidate, champion)
    return Decision(passed=True, becomes_champion=becomes_champion, keep=True, reasons=tuple(reasons))


def compare(candidate: Figures, champion: Champion) -> tuple[bool, list[str]]:
    """Whether the candidate is no worse than the champion on the classes that both know, and why.

    A class that is new must not keep a model out, so each is asked only about the classes that both know. A
    candidate that lacks a class would never answer it: only a person may promote it.
    """
    old = champion.figures
    if set(candidate.labels) == set(old.labels):
        return _compare_alike(candidate, champion)
    shared = [label for label in candidate.labels if label in old.labels]
    added = [label for label in candidate.labels if label not in old.labels]
    lost = [label for label in old.labels if label not in candidate.labels]
    reasons = []
    if added:
        reasons.append(f"Only the new model knows {_join(added)}.")
    if lost:
        reasons.append(f"Only the champion {champion.model} knows {_join(lost)}.")
    if not shared:
        reasons.append(f"No class is known to both: {STAYS}")
        return False, reasons
    new_accuracy, old_accuracy = candidate.accuracy_on(shared), old.accuracy_on(shared)
    if new_accuracy is None or old_accuracy is None:
        reasons.append(f"One of the two has no test images of {_join(shared)}, which both know: {STAYS}")
        return False, reasons
    becomes_champion = not lost and new_accuracy >= old_accuracy
    reasons.append(
        f"On the test images of {_join(shared)}, which both know, its accuracy is {new_accuracy:.4f}, "
        f"and that of the champion {champion.model} {old_accuracy:.4f}: "
        + ("the model becomes champion." if becomes_champion else STAYS)
    )
    if lost:
        reasons.append(f"It would never answer {_join(lost)}: promote it by hand if that is meant.")
    return becomes_champion, reasons


def _compare_alike(candidate: Figures, champion: Champion) -> tuple[bool, list[str]]:
    """The comparison of two models that know the same classes."""
    new, old = candidate.accuracy, champion.figures.accuracy
    becomes_champion = new >= old
    if candidate.dataset == champion.figures.dataset:
        sentence = f"Test accuracy {new:.4f} is below the {old:.4f} of the champion {champion.model}: {STAYS}"
        return becomes_champion, [] if becomes_champion else [sentence]
    sentence = (
        f"Test accuracy {new:.4f} on images of {candidate.dataset}, that of the champion {champion.model} "
        f"{old:.4f} on images of {champion.figures.dataset}: "
    )
    return becomes_champion, [sentence + ("the model becomes champion." if becomes_champion else STAYS)]


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
    if not decision.passed:
        webhook_events.model_failed_gate(session, job, model, decision.reasons)


def _figures(dataset: str, evaluation: dict[str, Any]) -> Figures:
    matrix = evaluation["confusion_matrix"]
    # They come last in the matrix; the model cannot answer with them.
    unknown = {entry["name"] for entry in evaluation.get("unknown_classes", ())}
    return Figures(
        accuracy=evaluation["metrics"]["accuracy"]["value"],
        dataset=dataset,
        labels=tuple(label for label in matrix["labels"] if label not in unknown),
        counts=tuple(tuple(row) for row in matrix["counts"]),
    )


def _find_champion(session: Session, product_id: str) -> Champion | None:
    alias = session.get(Alias, (product_id, CHAMPION), with_for_update=True)
    if alias is None:
        return None
    model = session.get_one(TrainedModel, alias.model_id)
    report = session.scalar(
        select(Evaluation.report)
        .where(Evaluation.model_id == model.id, Evaluation.is_final_test)
        .order_by(Evaluation.created_at.desc())
        .limit(1)
    )
    counts = report["confusion_matrix"]["counts"] if report else ()
    figures = Figures(
        accuracy=model.metrics["accuracy"]["value"],
        dataset=_tested_on(session.get_one(Job, model.job_id)),
        labels=tuple(model.labels),
        counts=tuple(tuple(row) for row in counts),
    )
    return Champion(model.id, figures)


def _tested_on(job: Job) -> str:
    return "another Loupe" if job.dataset_id is None else tested_dataset(job)


def _join(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:SHOWN_CLASSES])
    more = len(classes) - SHOWN_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown
