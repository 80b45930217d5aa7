"""Whether a training went on for too long, or not for long enough."""

from __future__ import annotations

from collections.abc import Iterator

from app.schemas.finding import Finding
from app.services.proportions import wilson
from app.services.training_doctor.learning import FAR, LEAST_EPOCHS, is_at_chance
from app.services.training_doctor.record import TrainingRecord, finding, nats, per_cent
from app.words import count

GAP = 0.1
"""Of accuracy, between the train images and the upper limit of what holds for others."""
RISE, BEYOND = 1.2, 2.0
"""Of the validation loss, over the least that it was; and over the train loss."""
MOST_EPOCHS = 10_000
FALLING = 0.05
"""Of the train loss, from one epoch to the next."""
RECENT = 0.75
"""Of the epochs that were done: the best one is younger while it still gets better."""
IMPATIENT = 3
_REASONS = {
    "stopped_by_user": "it was asked to stop",
    "budget_reached": "the time of its sweep was over",
    "early_stopped": "it did not get better for as long as early_stopping waits",
}


def check_overfitting(record: TrainingRecord) -> Iterator[Finding]:
    if not record.is_descent or len(record.validated) < 2:
        return
    last = record.validated[-1]
    least = min(record.validated, key=lambda epoch: epoch.valid_loss or 0.0)
    if last.valid_loss is None or last.valid_accuracy is None or least.valid_loss is None:
        return
    number = record.counts.get("valid", 0)
    best = max(epoch.valid_accuracy or 0.0 for epoch in record.validated)
    is_worse = last.valid_loss > min(RISE * least.valid_loss, BEYOND * last.train_loss)
    if last.train_accuracy - wilson(best, number).high < GAP or not is_worse:
        return
    settings: dict[str, object] = {}
    advice = "Add images: that helps most."
    if record.settings.get("augmentation") != "strong":
        settings["augmentation"] = "strong"
        advice += " Train with strong augmentation."
    yield finding(
        "overfitting",
        "warning",
        "overfitting: the train images are learned by heart",
        f"In epoch {last.number} {per_cent(last.train_accuracy)} of the train images are right, and "
        f"{per_cent(last.valid_accuracy)} of the validation images, at best {per_cent(best)}. The train loss "
        f"is {nats(last.train_loss)}, the validation loss {nats(last.valid_loss)}; its least was "
        f"{nats(least.valid_loss)} in epoch {least.number}.",
        advice,
        record=record,
        settings=settings,
    )


def check_end(record: TrainingRecord) -> Iterator[Finding]:
    if not record.is_descent or not record.has_ended or not record.epochs or len(record.images) < 2:
        return
    done, planned = len(record.epochs), max(record.planned_epochs, len(record.epochs))
    if not _is_getting_better(record):
        return
    if record.stop_reason == "completed":
        yield finding(
            "too_short",
            "warning",
            "the training was too short: it was still getting better at its end",
            f"{_course(record)} It had {count(done, 'epoch', 'epochs')}.",
            "Train for more epochs.",
            record=record,
            settings={"epochs": min(MOST_EPOCHS, max(10, 2 * done))},
        )
        return
    if record.stop_reason not in _REASONS:
        return
    if record.stop_reason == "early_stopped":
        waits = (record.settings.get("early_stopping") or {}).get("patience", IMPATIENT)
        if waits >= IMPATIENT:
            return
        advice = "Let early_stopping wait longer."
        settings: dict[str, object] = {"early_stopping": {"patience": 10}}
    else:
        advice = "Train it to its end, or with fewer epochs from the start."
        settings = {"epochs": planned}
    yield finding(
        "early_end",
        "warning",
        f"the training ended early: {_REASONS[record.stop_reason]}",
        f"It ended after {done} of {planned} epochs. {_course(record)}",
        advice,
        record=record,
        settings=settings,
    )


def _is_getting_better(record: TrainingRecord) -> bool:
    last = record.epochs[-1]
    if last.train_loss < FAR * FAR * record.weighted_ignorance:
        return False
    if len(record.epochs) < LEAST_EPOCHS and (len(record.epochs) == 1 or is_at_chance(record)):
        return True
    before = record.epochs[-2]
    least = min(record.validated, key=lambda epoch: epoch.valid_loss or 0.0, default=last)
    falls = last.train_loss < (1 - FALLING) * before.train_loss
    return falls and least.number > RECENT * len(record.epochs)


def _course(record: TrainingRecord) -> str:
    if len(record.epochs) == 1:
        return f"The train loss of its only epoch is {nats(record.epochs[0].train_loss)}."
    before, last = record.epochs[-2:]
    return (
        f"The train loss fell from {nats(before.train_loss)} to {nats(last.train_loss)} in the last epoch; "
        f"who knows nothing has {nats(record.weighted_ignorance)}."
    )
