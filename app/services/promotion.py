"""Whether a new model is good enough: the one place that decides about gates and champions.

``judge`` gathers the figures, ``decide`` decides from them alone, ``carry_out`` writes. Where the champion
has to be asked before that can be decided, ``find_rival`` names it: ``app/jobs/champion_comparison.py`` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.artifacts import Serving
from app.evaluation.comparison_spec import ChampionAnswer, Comparison
from app.models import Alias, Job, TrainedModel
from app.models.alias import CHAMPION
from app.schemas.gate import GateComparison, GateResult, GateRules
from app.schemas.job_payloads import TrainingPayload
from app.services import webhook_events
from app.services.aliases import move_alias
from app.services.products import lock_product
from app.services.proportions import FEWEST_DIFFERENCES, SIGNIFICANCE, mcnemar

STAYS = "the model is saved but does not become champion."
BECOMES = "the model becomes champion."
BY_HAND = "Promote it by hand if that is meant."
LOST = "It lost its sweep by validation: only the winner of a sweep may become champion."
SHOWN_CLASSES = 10
FEWEST_COUNTED = FEWEST_DIFFERENCES
"""Of fewer images even a model that is wrong each time would not be shown to be worse."""
MOST_LOSS = 0.01
"""The share of the compared images by which a new model may fall behind, where chance explains it."""


@dataclass(frozen=True)
class Figures:
    """What a model is judged by: its answers to its own test images, measured as it is served.

    ``labels``: the classes that it knows. ``counts[i][j]``: images of class ``labels[i]`` that were answered
    with ``labels[j]``, then a row of each class that it does not know. ``bytes``: of the file that answers;
    ``milliseconds``: for one image. None: not measured.
    """

    accuracy: float
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...] = ()
    bytes: int | None = None
    milliseconds: float | None = None


@dataclass(frozen=True)
class Champion:
    """The model that answers predictions now. ``answer``: None until it was asked about the test images."""

    model: str
    labels: tuple[str, ...]
    answer: ChampionAnswer | None = None


@dataclass(frozen=True)
class Rival:
    """A champion that has to be asked. ``dataset``: None where another Loupe trained it."""

    model: str
    folder: str
    digest: str
    labels: tuple[str, ...]
    job: str
    dataset: str | None


@dataclass(frozen=True)
class Decision:
    """What becomes of a new model. ``reasons`` are sentences for the job."""

    passed: bool
    becomes_champion: bool
    keep: bool
    reasons: tuple[str, ...] = ()
    comparison: GateComparison | None = None


def find_rival(
    session: Session, job: Job, evaluation: dict[str, Any], serving: Serving | None
) -> Rival | None:
    """The champion, if it has to be asked about the test images of the model of ``job``."""
    model = _find_champion(session, job.product_id)
    if model is None or _lost_its_sweep(job):
        return None
    champion = Champion(model.id, tuple(model.labels))
    if decide(rules_of(job), _figures(evaluation, serving), champion) is not None:
        return None
    return Rival(model.id, model.folder, model.digest, champion.labels, model.job_id, model.dataset_id)


def judge(
    session: Session,
    job: Job,
    evaluation: dict[str, Any],
    serving: Serving | None,
    find_answer: Callable[[str], ChampionAnswer | None],
) -> Decision | None:
    """Decides about the model of ``job``, which ``evaluation`` measured. None: its rival was not asked yet.

    ``serving``: None where there is no artifact, which a child of an older version leaves of a failing model:
    nothing can be kept. ``find_answer``: what the champion of this id has answered, if it was asked.

    Holds the product's row until the end of the transaction: of two jobs that end at the same moment the
    second is compared with the champion that the first has made.
    """
    lock_product(session, job.product_id)
    rules = rules_of(job)
    if serving is None:
        rules = rules.model_copy(update={"on_failure": "discard"})
    figures = _figures(evaluation, serving)
    if _lost_its_sweep(job):
        decision = decide(rules, figures, None)
        assert decision is not None, "without a champion nobody has to be asked"
        if decision.passed:
            return Decision(passed=True, becomes_champion=False, keep=decision.keep, reasons=(LOST,))
        return decision
    model = _find_champion(session, job.product_id, for_update=True)
    champion = None if model is None else Champion(model.id, tuple(model.labels), find_answer(model.id))
    return decide(rules, figures, champion)


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


def decide(rules: GateRules, candidate: Figures, champion: Champion | None) -> Decision | None:
    """What fails the gate may be kept; what passes becomes champion unless that one is better.

    None: the champion has to be asked about the test images first.
    """
    if failures := find_failures(rules, candidate):
        keep = rules.on_failure == "keep"
        end = "the model is kept, and no alias points at it" if keep else "no model was saved"
        reasons = (*(f"{failure}." for failure in failures[:-1]), f"{failures[-1]}: {end}.")
        return Decision(passed=False, becomes_champion=False, keep=keep, reasons=reasons)
    if champion is None:
        return Decision(passed=True, becomes_champion=True, keep=True)
    return compare(candidate.labels, champion)


def find_failures(rules: GateRules, candidate: Figures) -> list[str]:
    """Which rules the model does not keep: sentences without their full stop."""
    failures = []
    least = rules.min_accuracy or 0.0
    if candidate.accuracy < least:
        failures.append(f"Test accuracy {candidate.accuracy:.4f} is below min_accuracy {least:.4f}")
    for name, floor in sorted((rules.min_recall or {}).items()):
        if (failure := _miss(name, floor, candidate)) is not None:
            failures.append(failure)
    if rules.max_bytes is not None and candidate.bytes is not None and candidate.bytes > rules.max_bytes:
        failures.append(
            f"The served model has {candidate.bytes:,} bytes, more than max_bytes {rules.max_bytes:,}"
        )
    if rules.max_milliseconds is not None:
        limit = f"max_milliseconds {rules.max_milliseconds:g}"
        if candidate.milliseconds is None:
            failures.append(f"How long a prediction takes was not measured, so {limit} cannot be checked")
        elif candidate.milliseconds > rules.max_milliseconds:
            failures.append(f"A prediction takes {candidate.milliseconds:g} ms, more than {limit}")
    return failures


def _miss(name: str, floor: float, candidate: Figures) -> str | None:
    """Why the model does not keep the recall floor of a class."""
    if floor == 0:
        return None
    asked = f"min_recall asks for {floor:g} of {name}"
    if name not in candidate.labels:
        return f"{asked}, a class that the model does not know, as there were no images of it to train on"
    row = candidate.counts[candidate.labels.index(name)]
    if not sum(row):
        return f"{asked}, but no test image is of this class"
    right = row[candidate.labels.index(name)]
    if right / sum(row) >= floor:
        return None
    return f"Recall of {name} {right / sum(row):.4f} ({right} of {sum(row)}) is below min_recall {floor:.4f}"


def compare(labels: Collection[str], champion: Champion) -> Decision | None:
    """Whether a new model that knows the classes ``labels`` takes the champion's place, and why.

    None: the champion has to be asked first. A class that is new must not keep a model out, so both are asked
    only about the classes that both know. A model that lacks a class would never answer it: only a person may
    promote it.
    """
    added = [label for label in labels if label not in champion.labels]
    lost = [label for label in champion.labels if label not in labels]
    reasons = []
    if added:
        reasons.append(f"Only the new model knows {_join(added)}.")
    if lost:
        reasons.append(f"Only the champion {champion.model} knows {_join(lost)}.")
    if len(added) == len(labels):
        return _stay(*reasons, f"No class is known to both: {STAYS}")
    if lost:
        return _stay(*reasons, f"It would never answer {_join(lost)}: {STAYS} {BY_HAND}")
    answer = champion.answer
    if answer is None:
        return None
    if answer.is_broken:
        reasons.append(f"The champion {champion.model} cannot be served: {answer.reason} So {BECOMES}")
        return Decision(passed=True, becomes_champion=True, keep=True, reasons=tuple(reasons))
    if answer.found is None:
        asked = f"The champion {champion.model} could not be asked about the test images: {answer.reason}"
        return _stay(*reasons, f"{asked} So {STAYS} {BY_HAND}")
    return _weigh(answer.found, champion.model, reasons)


def _weigh(found: Comparison, champion: str, reasons: list[str]) -> Decision:
    """The rule: see docs/models.md, and docs/decisions/0028 for why it is this one."""
    is_no_worse, p_value, reason = _compare_answers(found, champion)
    reasons = [*reasons, reason]
    if not found.knows_champion_training:
        reasons.append("It is not known which images the champion was trained on: it may know some of these.")
    return Decision(
        passed=True,
        becomes_champion=is_no_worse,
        keep=True,
        reasons=tuple(reasons),
        comparison=GateComparison(champion=champion, p_value=p_value, **found.model_dump()),
    )


def _compare_answers(found: Comparison, champion: str) -> tuple[bool, float | None, str]:
    if found.counted < FEWEST_COUNTED:
        return (
            False,
            None,
            f"To compare it with the champion {champion}, {_count(found)} left{_explain_left_out(found)}; it "
            f"takes {FEWEST_COUNTED}: of fewer, even answers that are all wrong would show nothing. "
            f"So {STAYS} {BY_HAND}",
        )
    p_value = mcnemar(found.only_new, found.only_champion)
    behind = found.only_champion - found.only_new
    unseen_by = "neither model was" if found.knows_champion_training else "the new model was not"
    seen = (
        f"Of {_describe(found)} that {unseen_by} trained on, the new model answers {found.new_right:,} "
        f"rightly and the champion {champion} {found.champion_right:,}; {found.only_new:,} speak for the new "
        f"model alone, {found.only_champion:,} for the champion alone"
    )
    chance = f"p = {p_value:.2g} by McNemar's exact test"
    if behind <= 0:
        return True, p_value, f"{seen}: {BECOMES}"
    if p_value < SIGNIFICANCE:
        return False, p_value, f"{seen}, more than chance explains ({chance}): {STAYS}"
    if behind <= MOST_LOSS * found.counted:
        return True, p_value, f"{seen}, which chance explains ({chance}): {BECOMES}"
    return (
        False,
        p_value,
        f"{seen}. Chance may explain that ({chance}), but it is a loss of more than {MOST_LOSS:.0%} on "
        f"images too few to tell: {STAYS} {BY_HAND}",
    )


def _count(found: Comparison) -> str:
    if found.counted == found.images:
        return f"{found.images} test {'image is' if found.images == 1 else 'images are'}"
    return f"{found.images} test images of {found.counted} groups are"


def _describe(found: Comparison) -> str:
    if found.counted == found.images:
        return f"{found.images:,} test images"
    return f"{found.images:,} test images of {found.counted:,} groups, which count once each,"


def _explain_left_out(found: Comparison) -> str:
    if not found.left_out:
        return ""
    trained = "one of the two was trained on them, or on images of their group"
    return f" ({found.left_out:,} were left out: {trained})"


def _stay(*reasons: str) -> Decision:
    return Decision(passed=True, becomes_champion=False, keep=True, reasons=reasons)


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
        passed=decision.passed,
        reasons=list(decision.reasons),
        became_champion=became_champion,
        comparison=decision.comparison,
    ).model_dump(mode="json")
    if not decision.passed:
        webhook_events.model_failed_gate(session, job, model, decision.reasons)


def _lost_its_sweep(job: Job) -> bool:
    return TrainingPayload.model_validate(job.payload).ends_as == "pruned"


def _figures(evaluation: dict[str, Any], serving: Serving | None) -> Figures:
    matrix = evaluation["confusion_matrix"]
    # They come last in the matrix; the model cannot answer with them.
    unknown = {entry["name"] for entry in evaluation.get("unknown_classes", ())}
    return Figures(
        accuracy=evaluation["metrics"]["accuracy"]["value"],
        labels=tuple(label for label in matrix["labels"] if label not in unknown),
        counts=tuple(tuple(row) for row in matrix["counts"]),
        bytes=None if serving is None else serving.bytes,
        milliseconds=None if serving is None else serving.milliseconds,
    )


def _find_champion(session: Session, product_id: str, *, for_update: bool = False) -> TrainedModel | None:
    alias = session.get(Alias, (product_id, CHAMPION), with_for_update=for_update or None)
    return None if alias is None else session.get_one(TrainedModel, alias.model_id)


def _join(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:SHOWN_CLASSES])
    more = len(classes) - SHOWN_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown
