"""Whether a training learns at all, and if not, why: the first cause alone, as the others follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.schemas.finding import Finding, Level
from app.services.proportions import wilson
from app.services.training_doctor.record import (
    ROOM,
    FinalTest,
    TrainingRecord,
    finding,
    look_into,
    nats,
    per_cent,
)

THROWN = 3.0
"""Times log(classes), and nats: who knows nothing loses log(classes), so a larger loss is that of steps that
are too large. Of two classes log(classes) is so small that fresh weights alone may lose three times as much.
"""
THROWN_OTHERS = 30.0
"""The same of validation images: while the statistics of BatchNorm are young, their loss may be large."""
FLAT = 0.95
"""Of log(classes): the loss is there where it began, or where nothing but the shares of classes is known."""
FAR = 0.5
"""Of log(classes): with a loss below it a network has learned a good part."""
LEAST_EPOCHS, LEAST_SHARE = 3, 0.2
"""Epochs that a training is given before it can be said not to learn; of a running one, their part of all."""
LEAST_VALID = 10
"""Validation images: fewer show nothing, neither that it learns nor that it does not."""
OTHERS, TAKEN = 5, 0.9
"""Images of other classes, and their share that is answered with one class."""
DECISIVE, TAKEN_BY_WEIGHT = 0.75, 0.5
"""The share of the loss of a class that explains why it is answered for others, and what is then enough."""
_EXTREMES: dict[str, float] = {"dropout": 0.8, "label_smoothing": 0.5, "weight_decay": 0.1}
"""From here on a setting alone may keep a network from learning."""


def check_learning(record: TrainingRecord) -> Iterator[Finding]:
    """The first of: steps too large, steps too small, one class for all, nothing learned."""
    if len(record.images) < 2:  # nothing is known of the classes
        return
    for check in (_rate_too_high, _rate_too_low, _one_class_of_weight, _not_learning, _one_class):
        if (found := check(record)) is not None:
            yield found
            return


def is_at_chance(record: TrainingRecord) -> bool:
    """Whether no epoch shows that anything was learned that holds for other images."""
    best = record.best
    if best is None or best.valid_loss is None or best.valid_accuracy is None:
        return False
    if record.counts.get("valid", 0) < LEAST_VALID:
        return False
    least = min(epoch.valid_loss for epoch in record.validated if epoch.valid_loss is not None)
    accuracy = wilson(best.valid_accuracy, record.counts.get("valid", 0))
    return least >= FLAT * record.ignorance and accuracy.low <= record.majority


def _rate_too_high(record: TrainingRecord) -> Finding | None:
    lower: dict[str, Any] = {"learning_rate": min(record.rate / ROOM, record.expected_rate)}
    advice = f"Train with a learning_rate of {lower['learning_rate']:g} in place of {record.rate:g}."
    what = "the learning rate is too high: the loss left all bounds"
    if record.error is not None and record.error[0] == "not_finite":
        return finding("rate_too_high", "error", what, record.error[1], advice, record=record, settings=lower)
    if not record.is_descent or not record.epochs:
        return None
    bound, last = record.weighted_ignorance, record.epochs[-1].train_loss
    is_far = last > FAR * bound
    if (thrown := _where_it_was_thrown(record)) is not None:
        level: Level = "error" if is_far else "warning"
        return finding("rate_too_high", level, what, thrown, advice, record=record, settings=lower)
    if record.rate > ROOM * record.expected_rate and is_far and _has_had_time(record):
        what = "the learning rate is too high: little is learned"
        evidence = f"{_rates(record)} {_losses(record)}"
        return finding("rate_too_high", "error", what, evidence, advice, record=record, settings=lower)
    return None


def _where_it_was_thrown(record: TrainingRecord) -> str | None:
    """The first epoch with a loss that only steps that are far too large bring about, in words."""
    bound = record.weighted_ignorance
    for epoch in record.epochs:
        knows = f"who knows nothing has {nats(bound)}, log(classes)."
        if epoch.train_loss > THROWN * max(1.0, bound):
            return f"The train loss of epoch {epoch.number} is {nats(epoch.train_loss)}; {knows}"
        is_by_heart = epoch.train_loss < FAR * bound
        if not is_by_heart and (epoch.valid_loss or 0.0) > THROWN_OTHERS * max(1.0, record.ignorance):
            return f"The validation loss of epoch {epoch.number} is {nats(epoch.valid_loss or 0.0)}; {knows}"
    return None


def _rate_too_low(record: TrainingRecord) -> Finding | None:
    if not record.is_descent or not _has_had_time(record):
        return None
    if record.rate >= record.expected_rate / ROOM:
        return None
    last = record.epochs[-1].train_loss
    if last < FAR * record.weighted_ignorance:
        return None
    usual: dict[str, Any] = {"learning_rate": record.expected_rate}
    return finding(
        "rate_too_low",
        "error" if is_at_chance(record) else "warning",
        "the learning rate is too low: the loss hardly moves",
        f"The learning rate is {record.rate:g}, where {record.expected_rate:g} is usual. {_losses(record)}",
        f"Train with a learning_rate of {record.expected_rate:g}.",
        record=record,
        settings=usual,
    )


def _one_class_of_weight(record: TrainingRecord) -> Finding | None:
    """One class answers all since it makes up most of the loss, by its weight or its number of images."""
    shares = record.counted_shares
    if record.tested is None or max(shares.values(), default=0.0) < DECISIVE:
        return None
    name = max(shares, key=shares.__getitem__)
    taken, others = _count_answers(record.tested, name)
    if others < OTHERS or (taken < TAKEN_BY_WEIGHT * others and not is_at_chance(record)):
        return None
    return _describe_one_class(record, name, taken, others, shares[name])


def _one_class(record: TrainingRecord) -> Finding | None:
    if record.tested is None or _is_early(record):
        return None
    answers = {name: _count_answers(record.tested, name) for name in record.tested.labels}
    name = max(answers, key=lambda name: answers[name][0])
    taken, others = answers[name]
    if others < OTHERS or taken < TAKEN * others:
        return None
    return _describe_one_class(record, name, taken, others, None)


def _count_answers(tested: FinalTest, name: str) -> tuple[int, int]:
    """Of the test images of other classes: how many are answered with the class, and their number."""
    if name not in tested.labels:
        return 0, 0
    place = tested.labels.index(name)
    others = [row for number, row in enumerate(tested.counts) if number != place]
    return sum(row[place] for row in others), sum(map(sum, others))


def _describe_one_class(
    record: TrainingRecord, name: str, taken: int, others: int, share: float | None
) -> Finding:
    evidence = f"{taken:,} of {others:,} test images of other classes are answered with {name}."
    if share is not None:
        evidence = f"{name} makes up {per_cent(share)} of the loss. {evidence}"
    if taken >= TAKEN * others:
        what = f"the model answers {name} for all images"
    elif taken >= TAKEN_BY_WEIGHT * others:
        what = f"the model answers {name} for most images"
    else:
        what = f"hardly anything but {name} counts, so the other classes are not learned"
    is_weighted = record.settings.get("class_weights") not in (None, "none")
    if record.settings.get("class_weights") == "balanced":
        advice, settings = f"Add images of the classes other than {name}.", {}
    else:
        settings = {"class_weights": "balanced"}
        advice = (
            'Train with class_weights "balanced"'
            + (" in place of the weights that were given" if is_weighted else "")
            + f", and add images of the classes other than {name}."
        )
    return finding(
        "one_class",
        "error",
        what,
        evidence,
        advice,
        record=record,
        settings=settings,
        classes=[name],
    )


def _not_learning(record: TrainingRecord) -> Finding | None:
    if _is_early(record) or not _has_had_time(record) or not is_at_chance(record):
        return None
    extremes = {
        name: record.settings[name]
        for name, bound in _EXTREMES.items()
        if float(record.settings.get(name) or 0.0) >= bound
    }
    learned = record.epochs[-1].train_loss < FLAT * record.weighted_ignorance
    what = "nothing is learned that holds for other images: the model is as good as guessing"
    if extremes:
        named = ", ".join(f"{name} {value:g}" for name, value in extremes.items())
        advice = f"A setting alone may keep it from learning: {named}. Train with the defaults of these."
        settings: dict[str, Any] = dict.fromkeys(extremes)
        settings = {name: None if name == "dropout" else _DEFAULTS[name] for name in settings}
        return _describe_not_learning(record, what, advice, settings=settings)
    if learned:
        advice = (
            "It learns the train images by heart, and their labels do not follow from what they show. Look "
            "at the labels."
        )
    else:
        advice = (
            "The labels may not follow from what the images show, or the images are too small for what sets "
            "the classes apart. Look at the labels first, then try a larger image_size."
        )
    return _describe_not_learning(record, what, advice, dataset=record.dataset)


_DEFAULTS = {"label_smoothing": 0.0, "weight_decay": 1e-4}


def _describe_not_learning(
    record: TrainingRecord,
    what: str,
    advice: str,
    *,
    settings: dict[str, Any] | None = None,
    dataset: str | None = None,
) -> Finding:
    best = record.best
    assert best is not None
    accuracy = best.valid_accuracy or 0.0
    return finding(
        "not_learning",
        "error" if record.has_ended else "warning",
        what,
        f"{_losses(record)} The best validation accuracy is {per_cent(accuracy)}; answering the largest "
        f"class for all gives {per_cent(record.majority)}.",
        advice,
        record=record,
        settings=settings,
        command=None if dataset is None else look_into(dataset),
        dataset=dataset,
    )


def _rates(record: TrainingRecord) -> str:
    return f"The learning rate is {record.rate:g}, where {record.expected_rate:g} is usual."


def _losses(record: TrainingRecord) -> str:
    first, last = record.epochs[0].train_loss, record.epochs[-1].train_loss
    valid = [epoch.valid_loss for epoch in record.validated if epoch.valid_loss is not None]
    least = f", the least validation loss is {nats(min(valid))}" if valid else ""
    return (
        f"The train loss went from {nats(first)} to {nats(last)} in {len(record.epochs)} epochs{least}; who "
        f"knows nothing has {nats(record.weighted_ignorance)}, log(classes)."
    )


def _is_early(record: TrainingRecord) -> bool:
    """Whether it ended before anybody could know what it would learn: it was too short (``course``)."""
    return record.is_descent and len(record.epochs) < LEAST_EPOCHS


def _has_had_time(record: TrainingRecord) -> bool:
    done = len(record.epochs)
    if not record.is_descent or record.has_ended:
        return done > 0
    return done >= max(LEAST_EPOCHS, LEAST_SHARE * record.planned_epochs)
