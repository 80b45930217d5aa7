"""Evaluations and import reports as text: summary, table per class, confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from app.cli.commands import for_terminal
from app.cli.console import (
    add_row,
    format_bytes,
    format_estimate,
    join_counts,
    make_table,
    note,
    out,
    printable,
    say,
    show,
    show_fields,
)
from app.cli.tables import FittedTable, fits
from app.words import count

WIDEST_MATRIX = 25
WIDEST_NAMES = 60
TOP_CONFUSIONS = 30
WORST_CLASSES = 40
LISTED_NAMES = 10


def summarise_metrics(items: int | None, metrics: Mapping[str, Any], subset: str) -> dict[str, object]:
    """The numbers over all images, as fields to show."""
    over = f", {items:,} images" if items is not None else ""
    top_k = metrics["top_k"]
    return {
        f"{subset} accuracy": format_estimate(metrics["accuracy"]) + over,
        "balanced accuracy": format_estimate(metrics["balanced_accuracy"]),
        "macro F1": format_estimate(metrics["macro_f1"]),
        f"top-{top_k['k']} accuracy": f"{top_k['value']:.4f}",
    }


def show_evaluation(evaluation: Mapping[str, Any]) -> None:
    """Everything about an evaluation that fits a terminal."""
    subset = "test" if evaluation["subset"] == "test" else "overall"
    show_fields(summarise_metrics(evaluation["items"], evaluation["metrics"], subset))
    if unknown := evaluation["unknown_classes"]:
        known = format_estimate(evaluation["accuracy_of_known_classes"]) or "no images"
        show_fields({"on known classes": known, "unknown classes": join_counts(_as_counts(unknown))})
        note("An image of an unknown class counts as wrong: the model cannot answer with that class.")
    for warning in evaluation.get("warnings", ()):
        note(f"warning: {printable(warning)}", style="yellow")
    say()
    show_classes(evaluation["classes"])
    say()
    show_confusions(evaluation["confusion_matrix"])


def _as_counts(classes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": entry["name"], "count": entry["items"]} for entry in classes]


def show_classes(classes: Sequence[Mapping[str, Any]]) -> None:
    """Scores per class; of very many, those with the lowest F1."""
    shown = list(classes)
    title = None
    if len(shown) > WORST_CLASSES:
        shown = sorted(shown, key=lambda entry: (entry["f1"] is None, entry["f1"] or 0.0))[:WORST_CLASSES]
        title = f"The {WORST_CLASSES} of {len(classes)} classes with the lowest F1"
    table = make_table("class", ">precision", ">recall", ">F1", ">images", title=title)
    for entry in shown:
        scores = (_score(entry[name]) for name in ("precision", "recall", "f1"))
        add_row(table, entry["name"], *scores, entry["support"])
    show(table)


def show_confusions(matrix: Mapping[str, Any]) -> None:
    """The matrix while it fits a screen, else its largest entries off the diagonal."""
    labels, counts = matrix["labels"], matrix["counts"]
    if len(labels) > WIDEST_MATRIX:
        _show_top_confusions(labels, counts)
        return
    names = [printable(label) for label in labels]
    table = _draw_matrix(counts, rows=names, columns=names)
    if sum(map(len, names)) > WIDEST_NAMES or _is_too_wide(table):
        numbers = [str(index) for index in range(len(labels))]
        rows = [f"{number:>{len(numbers[-1])}} {name}" for number, name in zip(numbers, names, strict=True)]
        table = _draw_matrix(counts, rows=rows, columns=numbers)
    if _is_too_wide(table):
        # A matrix without some of its columns would mislead.
        _show_top_confusions(labels, counts)
    else:
        show(table)


def _draw_matrix(
    counts: Sequence[Sequence[int]], *, rows: Sequence[str], columns: Sequence[str]
) -> FittedTable:
    table = make_table("true \\ predicted", *(f">{name}" for name in columns), title="Confusion matrix")
    for index, (name, row) in enumerate(zip(rows, counts, strict=True)):
        cells = (_cell(count, index == column, sum(row)) for column, count in enumerate(row))
        add_row(table, name, *cells)
    return table


def _is_too_wide(table: FittedTable) -> bool:
    return out.is_terminal and not fits(table, out.width)


def show_import_report(report: Mapping[str, Any]) -> None:
    """What an import saw: classes, what was left out, advice."""
    classes = report["classes"]
    is_split = any(entry.get("splits") for entry in classes)
    splits = (">train", ">valid", ">test") if is_split else ()
    table = make_table(
        *("class", ">images", *splits, ">width", ">height", ">size", "formats"),
        drops=("formats", "height", "width", "size"),
    )
    for entry in classes:
        parts = (entry["splits"][name.lstrip(">")] for name in splits) if is_split else ()
        sizes = (_spread(entry[side]) for side in ("width", "height"))
        formats = ", ".join(f"{name} {count:,}" for name, count in entry["formats"].items())
        add_row(
            table, entry["name"], f"{entry['count']:,}", *parts, *sizes, format_bytes(entry["bytes"]), formats
        )
    show(table)
    _show_left_out("could not be decoded", report.get("corrupt") or [], report["totals"].get("corrupt", 0))
    _show_left_out("skipped", report.get("skipped") or [], report["totals"].get("skipped", 0))
    _show_left_out("odd names", report.get("odd_names") or [], report["totals"].get("odd_names", 0))
    _show_names_of_report(report)
    show_advice(report["advice"])


def _show_names_of_report(report: Mapping[str, Any]) -> None:
    """The images that the advice counts: copies, copies with different labels, copies in two splits."""
    totals = report["totals"]
    copies = [", ".join(names) for names in report.get("duplicates") or ()]
    conflicts = [
        f"{', '.join(one['names'])}: labelled {' and '.join(one['labels'])}"
        for one in report.get("conflicting_labels") or ()
    ]
    across = [", ".join(names) for names in report.get("across_splits") or ()]
    wrong = [f"{one['name']} is a {one['format']}" for one in report.get("wrong_extensions") or ()]
    _show_lines("identical images, each group once", copies, totals.get("duplicates", 0))
    _show_lines("identical images with different labels", conflicts, totals.get("conflicting_labels", 0))
    _show_lines("identical images in several splits", across, totals.get("across_splits", 0))
    _show_lines("names that promise another format", wrong, totals.get("wrong_extensions", 0))


def show_advice(advice: Sequence[str]) -> None:
    for sentence in advice:
        say(Text.assemble(("advice: ", "bold yellow"), printable(for_terminal(sentence))))


def summarise_import(dataset: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    """The few lines after an import."""
    skipped = dataset["skipped"]
    left_out = f", {count(skipped, 'file', 'files')} left out" if skipped else ""
    say(
        f"{dataset['id']}: {dataset['items']:,} images in {len(dataset['classes'])} classes{left_out}",
        style="bold",
    )
    say(f"  {join_counts(dataset['classes'])}")
    if dataset["counts"] and any(dataset["counts"].values()):
        say("  came split: " + ", ".join(f"{name} {count:,}" for name, count in dataset["counts"].items()))
    show_advice(report["advice"])
    if report["advice"]:
        note(f"All of it: loupe dataset report {dataset['id']}")


def note_next(dataset: Mapping[str, Any], report: Mapping[str, Any], train: str) -> None:
    """What to do after an import: ``train``, unless that would be refused."""
    if report.get("training_refused"):
        note(f"Next, mend the images: loupe dataset edit {dataset['id']} --help; or import them otherwise")
    else:
        note(f"Next, a training: {train}")


def _show_left_out(what: str, entries: Sequence[Mapping[str, str]], total: int) -> None:
    _show_lines(what, [f"{entry['name']}: {entry['reason']}" for entry in entries], total)


def _show_lines(what: str, lines: Sequence[str], total: int) -> None:
    if not total:
        return
    say()
    say(f"{total:,} {what}", style="bold")
    for line in lines[:LISTED_NAMES]:
        say(f"  {line}")
    if total > LISTED_NAMES:
        say(f"  … and {total - LISTED_NAMES:,} more; --json lists them")


def _show_top_confusions(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    wrong = [
        (count, labels[i], labels[j])
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if count and i != j
    ]
    largest = sorted(wrong, key=lambda entry: -entry[0])[:TOP_CONFUSIONS]
    table = make_table(
        "true", "predicted", ">images", title=f"Most frequent confusions ({len(largest)} of {len(wrong)})"
    )
    for images, true, predicted in largest:
        add_row(table, true, predicted, images)
    show(table)


def _cell(count: int, is_right: bool, row_total: int) -> Text:
    if not count:
        return Text("·", style="dim")
    if is_right:
        return Text(str(count), style="green")
    return Text(str(count), style="bold red" if count * 10 >= row_total else "red")


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _spread(values: Mapping[str, int]) -> str:
    if values["min"] == values["max"]:
        return str(values["min"])
    return f"{values['min']}–{values['max']}"
