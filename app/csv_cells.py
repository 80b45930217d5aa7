"""Cells of CSV files that a spreadsheet shows as they are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

# As ASCII, and as the wide forms of East Asian keyboards, which some programs take for the same.
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_MAY_BE_FORMULA = re.compile(r'(?:^|,)"?(?:[=+\-@\t]|＝|＋|－|＠)'.encode())
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def safe_row(cells: Iterable[Any]) -> list[Any]:
    """The cells, each text that a spreadsheet would compute behind an apostrophe; numbers stay numbers."""
    return [f"'{cell}" if is_formula(cell) else cell for cell in cells]


def is_formula(cell: Any) -> bool:
    """Whether a spreadsheet would compute a cell instead of showing it: ``=1+1``, ``@name``, ``-2+3``."""
    return isinstance(cell, str) and bool(_FORMULA.match(cell)) and not _NUMBER.fullmatch(cell)


@lru_cache(maxsize=256)
def holds_formulas(path: Path) -> bool:
    """Whether a CSV file, which never changes, has a cell that may be a formula, as older releases wrote."""
    with path.open("rb") as file:
        return any(_MAY_BE_FORMULA.search(line) for line in file)


def safe_lines(path: Path) -> Iterator[str]:
    """The lines of a CSV file, its formulas made harmless."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            line = io.StringIO()
            csv.writer(line).writerow(safe_row(row))
            yield line.getvalue()
