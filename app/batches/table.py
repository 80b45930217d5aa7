"""The results as CSV, made from the JSON Lines: a name that a spreadsheet would compute is made harmless."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

from app.csv_cells import safe_row


def write_table(results: Path, table: Path, ranks: int, alive: Callable[[], None]) -> None:
    """One row a line; nine significant digits give a float32 back to the bit. ``alive`` is called for each.

    ``ranks``: labels in a row, each with its probability.
    """
    more = [name for rank in range(2, ranks + 1) for name in (f"label_{rank}", f"probability_{rank}")]
    with results.open(encoding="utf-8") as lines, table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "sha256", "label", "probability", *more, "error", "model"])
        for line in lines:
            alive()
            row = json.loads(line)
            answers = [
                cell
                for entry in row["predictions"]
                for cell in (entry["label"], f"{entry['probability']:.9g}")
            ]
            answers += [""] * (2 * ranks - len(answers))
            error = row["error"]["detail"] if row["error"] else ""
            writer.writerow(safe_row([row["name"], row["sha256"] or "", *answers, error, row["model"]]))
