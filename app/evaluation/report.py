"""An evaluation as text to read: ``test_result.log``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.evaluation.figures import ConfusionMatrix, Estimate, Evaluation, Selection, SharedGroups
from app.evaluation.spec import Mistake

WIDEST_MATRIX = 25
TOP_CONFUSIONS = 50


def format_report(
    evaluation: Evaluation,
    mistakes: Sequence[Mistake],
    subset: str,
    shared: SharedGroups | None = None,
    selection: Selection | None = None,
) -> str:
    """Accuracy and loss first, then the table of classes, the confusion matrix and every wrong image."""
    return "\n".join(
        [
            *_summary(evaluation, subset),
            *_shared_groups(shared),
            *_selection(selection),
            "",
            *_class_table(evaluation),
            "",
            *_confusions(evaluation.confusion_matrix),
            "",
            *_wrong_pictures(mistakes),
            "",
        ]
    )


def _summary(evaluation: Evaluation, subset: str) -> Iterator[str]:
    metrics = evaluation.metrics
    right = sum(row[index] for index, row in enumerate(evaluation.confusion_matrix.counts))
    yield (
        f"{subset} accuracy: {_estimate(metrics.accuracy)}, {right} of {evaluation.items} images, "
        f"{subset} loss: {metrics.log_loss:.5f}"
    )
    if evaluation.unknown_classes:
        names = ", ".join(f"{_printable(entry.name)} {entry.items}" for entry in evaluation.unknown_classes)
        known = evaluation.accuracy_of_known_classes
        yield f"images of classes that the model does not know, all answered wrongly: {names}"
        yield f"accuracy on the classes that it knows: {_estimate(known) if known else 'no images'}"
    yield f"balanced accuracy: {_estimate(metrics.balanced_accuracy)}"
    yield f"macro F1: {_estimate(metrics.macro_f1)}"
    yield f"top-{metrics.top_k.k} accuracy: {metrics.top_k.value:.5f}"
    yield f"expected calibration error: {evaluation.calibration.ece:.5f}"


def _shared_groups(shared: SharedGroups | None) -> Iterator[str]:
    if shared is not None:
        counted = "counted above" if shared.are_counted else "not counted above"
        yield (
            f"test images that share a group with train or valid: {shared.items}, {counted}, "
            f"accuracy on them: {_estimate(shared.accuracy)}"
        )


def _selection(selection: Selection | None) -> Iterator[str]:
    if selection is None:
        return
    error = "none accepted" if selection.error is None else _estimate(selection.error)
    yield (
        f"accepted: {selection.accepted} of {selection.accepted + sum(selection.rejected.values())} images, "
        f"{selection.wrong} of them answered wrongly, share of errors: {error}"
    )
    asked = f"at most {selection.max_error:g} of accepted answers wrong"
    if selection.promised is None:
        yield f"promise of the product: {asked}; the validation images are too few to promise anything"
    elif selection.promised > selection.max_error:
        yield f"promise of the product: {asked}; the validation images can promise {selection.promised:g}"
    else:
        yield f"promise of the product, at 95 % confidence: {asked}"
    if selection.rejected:
        yield "rejected: " + ", ".join(f"{reason} {n}" for reason, n in selection.rejected.items())


def _estimate(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.5f} (no interval)"
    return f"{estimate.value:.5f} (95 % interval {estimate.low:.5f} to {estimate.high:.5f})"


def _class_table(evaluation: Evaluation) -> list[str]:
    rows: list[tuple[str, ...]] = [("class", "precision", "recall", "F1", "images")]
    for score in evaluation.classes:
        numbers = (
            "-" if value is None else f"{value:.4f}" for value in (score.precision, score.recall, score.f1)
        )
        rows.append((_printable(score.name), *numbers, str(score.support)))
    return _align(rows)


def _confusions(matrix: ConfusionMatrix) -> list[str]:
    """The matrix while it fits a screen, else its largest entries off the diagonal."""
    names = [_printable(label) for label in matrix.labels]
    if len(names) <= WIDEST_MATRIX:
        numbers = [str(index) for index in range(len(names))]
        rows: list[tuple[str, ...]] = [("", "", *numbers)]
        rows += [(numbers[i], names[i], *map(str, row)) for i, row in enumerate(matrix.counts)]
        return [
            "Confusion matrix: a row for each true class, a column for each predicted one",
            *_align(rows, left=2),
        ]
    off_diagonal = [
        (count, names[i], names[j])
        for i, row in enumerate(matrix.counts)
        for j, count in enumerate(row)
        if count and i != j
    ]
    largest = sorted(off_diagonal, key=lambda entry: -entry[0])[:TOP_CONFUSIONS]
    table = _align(
        [("true", "predicted", "images"), *((i, j, str(count)) for count, i, j in largest)], left=2
    )
    return [f"Most frequent confusions ({len(largest)} of {len(off_diagonal)})", *table]


def _wrong_pictures(mistakes: Sequence[Mistake]) -> list[str]:
    if not mistakes:
        return ["No image was answered wrongly."]
    rows: list[tuple[str, ...]] = [("probability", "true", "predicted", "item", "name")]
    rows += [
        (
            f"{mistake.probability:.4f}",
            *map(_printable, (mistake.true, mistake.predicted, mistake.item, mistake.name)),
        )
        for mistake in mistakes
    ]
    return [f"Wrong images ({len(mistakes)}), the most confident first", *_align(rows, left=5)]


def _align(rows: Sequence[tuple[str, ...]], left: int = 1) -> list[str]:
    """Columns two spaces apart: the first ``left`` of them flush left, numbers flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _printable(name: str) -> str:
    """A name comes from an upload: a line break or an escape sequence in it must not reach a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
