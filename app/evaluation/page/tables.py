"""The tables of the page: what is shown of many classes, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.evaluation.analysis.spec import Curves, OneClass, RiskCoverage
from app.evaluation.page.words import number, share, shown
from app.schemas.evaluation import Evaluation

MOST_CLASSES = 100
"""Of the table of classes: of more, those that are found worst."""
WORST_CLASSES = 40
WIDEST_MATRIX = 25
TOP_CONFUSIONS = 40
DRAWN_CLASSES = 5
"""Curves of single classes in one figure."""
COVERAGES = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5, 0.25)
_LEVELS = 9


@dataclass(frozen=True)
class ClassRow:
    """Scores of a class as they are written."""

    name: str
    support: int
    precision: str
    recall: str
    f1: str
    area: str
    average_precision: str
    is_unknown: bool


@dataclass(frozen=True)
class Cell:
    """``level``: 0 to ``_LEVELS``, how much of its row."""

    count: int
    share: str
    level: int
    is_right: bool


@dataclass(frozen=True)
class Matrix:
    """Rows are true classes, columns answers."""

    answers: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Confusion:
    """How often one class was taken for another, of so many images."""

    true: str
    predicted: str
    count: int
    share: str


def list_classes(evaluation: Evaluation, curves: Curves) -> tuple[list[ClassRow], int]:
    """All classes in the model's order, of very many those that are found worst; how many are left out."""
    areas = {each.name: each for each in curves.classes}
    unknown = {each.name for each in evaluation.unknown_classes}
    classes = evaluation.classes
    if len(classes) > MOST_CLASSES:
        with_images = [each for each in classes if each["support"]]
        classes = sorted(with_images, key=lambda each: (each["recall"], each["f1"]))[:WORST_CLASSES]
    rows = [_class_row(each, areas.get(each["name"]), each["name"] in unknown) for each in classes]
    return rows, len(evaluation.classes) - len(rows)


def fill_matrix(evaluation: Evaluation) -> Matrix | None:
    """None where it would not fit a page."""
    matrix = evaluation.confusion_matrix
    labels = [shown(label, 30) for label in matrix["labels"]]
    if len(labels) > WIDEST_MATRIX:
        return None
    rows = []
    for index, counts in enumerate(matrix["counts"]):
        total = sum(counts)
        cells = tuple(
            Cell(
                count=count,
                share=share(count / total) if total else "–",
                level=-(-count * _LEVELS // total) if total else 0,
                is_right=index == column,
            )
            for column, count in enumerate(counts)
        )
        rows.append((labels[index], total, cells))
    return Matrix(tuple(labels), tuple(rows))


def list_confusions(evaluation: Evaluation) -> tuple[list[Confusion], int]:
    """The most frequent ones, and how many there are."""
    labels = evaluation.confusion_matrix["labels"]
    counts = np.array(evaluation.confusion_matrix["counts"], np.int64)
    totals = counts.sum(axis=1)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    trues, answers = np.nonzero(wrong)
    order = np.argsort(-wrong[trues, answers], kind="stable")[:TOP_CONFUSIONS]
    return [
        Confusion(
            true=shown(labels[true]),
            predicted=shown(labels[answer]),
            count=int(wrong[true, answer]),
            share=share(wrong[true, answer] / totals[true]),
        )
        for true, answer in zip(trues[order].tolist(), answers[order].tolist(), strict=True)
    ], len(trues)


def drawn_classes(curves: Curves) -> list[OneClass]:
    """The classes whose curves are drawn: all, or of many those with the least areas."""
    present = [each for each in curves.classes if each.roc is not None]
    if len(present) <= DRAWN_CLASSES:
        return present
    return sorted(present, key=lambda each: 0.0 if each.roc is None else each.roc.area)[:DRAWN_CLASSES]


def list_risks(curve: RiskCoverage) -> list[tuple[str, str, str]]:
    """Of some shares that are answered: the share, the risk, and the least probability that is answered."""
    rows = []
    coverage = np.array(curve.coverage)
    for wanted in COVERAGES:
        found = np.flatnonzero(coverage <= wanted + 1e-6)
        if len(found):
            index = int(found[-1])
            rows.append(
                (share(curve.coverage[index]), share(curve.risk[index]), share(curve.confidence[index]))
            )
    return list(dict.fromkeys(rows))


def sample(
    x: Sequence[float], y: Sequence[float], at: Sequence[float], *, is_stepped: bool = False
) -> list[str]:
    """Heights of a curve at some abscissas, for those who cannot see it."""
    reached = np.searchsorted(x, at).clip(max=len(x) - 1)
    heights = np.array(y)[reached] if is_stepped else np.interp(at, x, y)
    return [share(float(height)) for height in heights]


def _class_row(scores: dict[str, Any], curve: OneClass | None, is_unknown: bool) -> ClassRow:
    roc = None if curve is None else curve.roc
    precision_recall = None if curve is None else curve.precision_recall
    return ClassRow(
        name=shown(scores["name"]),
        support=scores["support"],
        precision=share(scores["precision"]),
        recall=share(scores["recall"]),
        f1=number(scores["f1"]),
        area=number(None if roc is None else roc.area),
        average_precision=number(None if precision_recall is None else precision_recall.average_precision),
        is_unknown=is_unknown,
    )
