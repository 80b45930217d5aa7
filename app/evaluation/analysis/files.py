"""The three tables that an analysis leaves, readable without scikit-learn.

``answers.npy`` has a row for each image, the surest answer first. ``names.jsonl`` has the images' ids and
names, at the places that the rows give: so a page of a long list is read without the rest of it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.csv_cells import is_formula

CURVES, ANSWERS, NAMES = FILES = "curves.json", "answers.npy", "names.jsonl"
ROW = np.dtype(
    [
        ("true", "<i4"),
        ("predicted", "<i4"),
        ("probability", "<f4"),
        ("of_true", "<f4"),
        ("offset", "<i8"),
        ("bytes", "<i4"),
    ]
)
"""Classes as indices; the probability of the answer, and that of the true class, 0 where the model does not
know it; where the line of names.jsonl lies."""
_COLUMNS = 3

Rows = NDArray[np.void]


@dataclass(frozen=True)
class Pictured:
    """An image of an evaluation."""

    item: str
    name: str
    label: str


@dataclass(frozen=True)
class Answer:
    """What was answered for an image, with indices of classes."""

    item: str
    name: str
    true: int
    predicted: int
    probability: float
    of_true: float


def read_predictions(path: Path, classes: Sequence[str]) -> Iterator[Pictured]:
    """The first columns of ``predictions.csv``; those of probabilities are left alone.

    A name behind an apostrophe, which keeps spreadsheets from computing it, is given as it was.
    """
    known = set(classes)
    with path.open(encoding="utf-8", newline="") as file:
        records = _records(file)
        next(records)
        for record in records:
            if '"' in record:
                item, name, label = next(csv.reader([record], strict=True))[:_COLUMNS]
            else:
                item, name, label = record.split(",", _COLUMNS)[:_COLUMNS]
            yield Pictured(item, _bare(name), label if label in known else _bare(label))


def write_answers(
    folder: Path,
    pictured: Sequence[Pictured],
    labels: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    probabilities: NDArray[np.float32],
) -> None:
    """Of n images: labels and answers int (n,), probabilities float32 (n, c)."""
    known = probabilities.shape[1]
    rows = np.zeros(len(pictured), ROW)
    rows["true"], rows["predicted"] = labels, predicted
    rows["probability"] = probabilities.max(axis=1)
    of_true = np.take_along_axis(probabilities, np.minimum(labels, known - 1)[:, None], axis=1)[:, 0]
    rows["of_true"] = np.where(labels < known, of_true, 0)
    rows = rows[order := np.argsort(-rows["probability"], kind="stable")]
    with (folder / NAMES).open("wb") as file:
        for row, index in enumerate(order.tolist()):
            line = json.dumps([pictured[index].item, pictured[index].name]).encode() + b"\n"
            rows["offset"][row], rows["bytes"][row] = file.tell(), len(line)
            file.write(line)
    np.save(folder / ANSWERS, rows)


def open_answers(folder: Path) -> Rows:
    """The rows of all images, the surest answer first, mapped into memory."""
    rows: Rows = np.load(folder / ANSWERS, mmap_mode="r")
    return rows


def read_answers(folder: Path, rows: Rows) -> list[Answer]:
    """The answers of some of ``open_answers``' rows, with the names of their images."""
    found = []
    with (folder / NAMES).open("rb") as file:
        for true, predicted, probability, of_true, offset, length in rows.tolist():
            file.seek(offset)
            item, name = json.loads(file.read(length))
            found.append(Answer(item, name, true, predicted, probability, of_true))
    return found


def _records(lines: Iterator[str]) -> Iterator[str]:
    """Lines of the file, joined where a name in quotes has a line break."""
    record = ""
    for line in lines:
        record += line
        if record.count('"') % 2 == 0:
            yield record
            record = ""


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and is_formula(cell[1:]) else cell
