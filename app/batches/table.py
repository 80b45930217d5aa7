"""The results as CSV, made from the JSON Lines: a name that a spreadsheet would compute is made harmless."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.csv_cells import safe_row

DECISION_COLUMNS = ("decision", "reject_reason")


def write_table(results: Path, table: Path, ranks: int, alive: Callable[[], None]) -> None:
    """One row a line; nine significant digits give a float32 back to the bit. ``alive`` is called for each.

    ``ranks``: labels in a row, each with its probability.
    """
    with results.open(encoding="utf-8") as lines, table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table_columns(ranks))
        for line in lines:
            alive()
            writer.writerow(safe_row(table_cells(json.loads(line), ranks)))


def table_columns(ranks: int) -> list[str]:
    more = [name for rank in range(2, ranks + 1) for name in (f"label_{rank}", f"probability_{rank}")]
    return ["name", "sha256", "label", "probability", *more, "error", "model", *DECISION_COLUMNS]


def table_cells(line: Mapping[str, Any], ranks: int) -> list[Any]:
    """A line of the results in these columns."""
    answers = [
        cell for entry in line["predictions"] for cell in (entry["label"], f"{entry['probability']:.9g}")
    ]
    answers += [""] * (2 * ranks - len(answers))
    error = line["error"]["detail"] if line["error"] else ""
    # Absent from lines that an older Loupe wrote.
    judged = [line.get(name) or "" for name in DECISION_COLUMNS]
    return [line["name"], line["sha256"] or "", *answers, error, line["model"], *judged]
