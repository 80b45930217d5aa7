"""Tables that fit the terminal: columns leave in a stated order, and no id and no word is cut.

What does not fit so is shown with one field a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Column, Table
from rich.text import Text

BETWEEN = 2
"""Cells between two columns."""
MOST_OF_A_WORD = 24
"""Longer words, such as paths, may be broken; ids may not."""
_ID = re.compile(r"[a-z]{3}_[0-9a-z]{20,}")


class FittedTable(Table):
    """``drops``: the headers of the columns that leave where there is no room, in their order."""

    drops: tuple[str, ...] = ()


def fit(table: Table, width: int) -> list[str]:
    """Removes columns until the table fits, and sets the widths of those that stay; returns their headers.

    Without ``drops`` columns leave from the right. The first always stays.
    """
    left: list[str] = []
    order = list(getattr(table, "drops", ())) or [_header(one) for one in reversed(table.columns[1:])]
    for name in order:
        if _sum(map(_least, table.columns)) <= width:
            break
        column = next((one for one in table.columns[1:] if _header(one) == name), None)
        if column is not None:
            _remove(table, column)
            left.append(name)
    _set_widths(table, width)
    return left


def fits(table: Table, width: int) -> bool:
    """Whether every column has room for its longest word."""
    return _sum(map(_least, table.columns)) <= width


def as_fields(table: Table) -> list[Table]:
    """Each row as a table of its own: a line for each field that is not empty."""
    shown = []
    for number in range(table.row_count):
        fields = Table(box=None, pad_edge=False, show_header=False)
        fields.add_column(style="bold", no_wrap=True)
        fields.add_column(overflow="fold")
        for column in table.columns:
            cell = list(column.cells)[number]
            if str(cell):
                fields.add_row(Text(_header(column)), cell)
        shown.append(fields)
    return shown


def _set_widths(table: Table, width: int) -> None:
    """The widest column that may shrink does, until all fit: rich shrinks without regard to words."""
    widths = [_natural(column) for column in table.columns]
    leasts = [_least(column) for column in table.columns]
    while _sum(widths) > width:
        may_shrink = [index for index, now in enumerate(widths) if now > leasts[index]]
        if not may_shrink:
            return
        widths[max(may_shrink, key=lambda index: widths[index])] -= 1
    for column, cells in zip(table.columns, widths, strict=True):
        column.width = cells


def _remove(table: Table, column: Column) -> None:
    table.columns.remove(column)
    for index, other in enumerate(table.columns):
        other._index = index


def _sum(widths: Sequence[int] | map[int]) -> int:
    all_widths = list(widths)
    return sum(all_widths) + BETWEEN * (len(all_widths) - 1)


def _texts(column: Column) -> list[str]:
    return [str(column.header), *(str(cell) for cell in column.cells)]


def _header(column: Column) -> str:
    return str(column.header)


def _natural(column: Column) -> int:
    return max((cell_len(text) for text in _texts(column)), default=0)


def _least(column: Column) -> int:
    if column.no_wrap:
        return _natural(column)
    words = [word for text in _texts(column) for word in text.split()]
    return max((_least_of(word) for word in words), default=0)


def _least_of(word: str) -> int:
    ids = [cell_len(found) for found in _ID.findall(word)]
    return max([min(cell_len(word), MOST_OF_A_WORD), *ids])
