"""What the terminal shows: results on standard output, progress and messages on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from app.cli.commands import for_terminal
from app.cli.tables import FittedTable, as_fields, fit, fits
from app.errors import FieldError, LoupeError

# A pipe or a file has no edge to wrap at; what scripts cut out of a column must stay whole.
PIPE_WIDTH = 1000
NAME_WIDTH = 28
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

_is_watched = sys.stdout is not None and sys.stdout.isatty()
out = Console(highlight=False, markup=False, emoji=False, width=None if _is_watched else PIPE_WIDTH)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(text: str | Text = "", style: str | None = None) -> None:
    """A line of the result."""
    out.print(_printable_text(text), style=style, soft_wrap=True)


def note(text: str | Text, style: str | None = "dim") -> None:
    """A line beside the result. Commands in a string are printed as they work here."""
    shown = text if isinstance(text, Text) else for_terminal(text)
    err.print(_printable_text(shown), style=style, soft_wrap=True)


def show(renderable: RenderableType) -> None:
    """A table or another block of the result."""
    if out.is_terminal:
        if isinstance(renderable, FittedTable):
            _show_fitted(renderable)
        else:
            out.print(renderable)
        return
    with out.capture() as capture:
        out.print(renderable)
    out.file.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _show_fitted(table: FittedTable) -> None:
    left_out = fit(table, out.width)
    if table.title:  # which rich would wrap to the width of the table
        say(str(table.title), style="bold")
        table.title = None
    if fits(table, out.width):
        out.print(table)
    else:
        for fields in as_fields(table):
            out.print(fields)
            say()
    if left_out:
        note(f"Not shown for want of room: {', '.join(left_out)}. A wider terminal shows more.")


def say_json(answer: Any) -> None:
    """The server's answer as it came, for scripts."""
    # What the encoding lacks is escaped as JSON has it, so that the document stays one.
    text = json.dumps(answer, indent=2, ensure_ascii=not out.encoding.startswith("utf"))
    out.file.write(text + "\n")


def say_error(error: LoupeError) -> None:
    """What went wrong, which parts of the request are to blame, and what to do."""
    problem_lines(error.detail, error.errors, error.hint)


def say_problem(problem: Mapping[str, Any]) -> None:
    """The error that a job or a dataset keeps."""
    errors = [FieldError(entry["pointer"], entry["message"]) for entry in problem.get("errors") or ()]
    problem_lines(problem["detail"], errors, problem.get("hint"))


def problem_lines(detail: str, errors: Iterable[FieldError], hint: str | None) -> None:
    err.print(
        Text("error: ", style="bold red"), Text(printable(for_terminal(detail))), sep="", soft_wrap=True
    )
    for entry in errors:
        # A single field's message is often all that the detail says.
        if entry.message not in detail:
            message = printable(for_terminal(entry.message))
            err.print(Text(f"  {printable(entry.pointer)}: {message}"), soft_wrap=True)
    if hint:
        err.print(
            Text("hint: ", style="bold cyan"), Text(printable(for_terminal(hint))), sep="", soft_wrap=True
        )


def make_table(*columns: str, title: str | None = None, drops: Sequence[str] = ()) -> FittedTable:
    """A table without lines. A column named ``>…`` is set flush right, one named ``!…`` is never wrapped.

    ``drops``: which columns leave first where a terminal is too narrow; from the right if not given.
    """
    table = FittedTable(
        box=None, pad_edge=False, header_style="bold", title=title, title_justify="left", title_style="bold"
    )
    for column in columns:
        table.add_column(
            Text(column.lstrip(">!")),
            justify="right" if column.startswith(">") else "left",
            no_wrap=column.startswith((">", "!")),
            overflow="fold",
        )
    table.drops = tuple(drops)
    return table


def add_row(table: Table, *cells: object) -> None:
    """Adds a row; None is an empty cell. Text keeps its colours."""
    table.add_row(
        *(
            cell if isinstance(cell, Text) else Text("" if cell is None else printable(str(cell)))
            for cell in cells
        )
    )


def show_fields(fields: Mapping[str, object]) -> None:
    """Names and values under each other; what is None is left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    # A name may be of whoever wrote it, such as of a note; the value beside it keeps the larger half.
    table.add_column(style="bold", overflow="fold", max_width=NAME_WIDTH)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value is not None:
            add_row(table, name, value)
    show(table)


def bytes_progress() -> Progress:
    """A bar for bytes sent or received; nothing where nobody watches."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )


def count_progress(*, is_hidden: bool = False) -> Progress:
    """A bar for things that are counted."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=is_hidden or not err.is_terminal,
        transient=True,
    )


def work_progress() -> Progress:
    """A bar for a job, with the details and the time left that the caller writes into ``detail``."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )


def say_above(progress: Progress, text: Text) -> None:
    """A line of the result while ``progress`` is shown: above its bar, where both share a terminal."""
    if out.is_terminal and err.is_terminal:
        progress.console.print(_printable_text(text), soft_wrap=True)
    else:
        say(text)
        out.file.flush()


def printable(text: str) -> str:
    """Names come from uploads and files: a line break or an escape sequence must not reach the terminal."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "replace").decode("ascii")
        for character in text
    )


def format_seconds(seconds: float | None) -> str:
    """A duration to read: 0.8 s, 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def format_bytes(count: float) -> str:
    """A size to read, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def format_time(timestamp: str | None) -> str:
    """An RFC 3339 time in the zone of who reads it, without its fraction: 2026-01-02 04:04:05 CET."""
    if timestamp is None:
        return ""
    local = datetime.fromisoformat(timestamp).astimezone()
    zone = local.tzname() or ""
    # Windows has long names, and some zones of the database have none but a number.
    if not (zone.isascii() and zone.isalpha() and len(zone) <= 5):
        zone = f"UTC{local:%z}" if local.utcoffset() else "UTC"
    return f"{local:%Y-%m-%d %H:%M:%S} {zone}"


def format_age(timestamp: str | None) -> str:
    """How long ago an RFC 3339 time was: 12 s, 5 min, 3 h, 8 d."""
    if timestamp is None:
        return ""
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def format_estimate(estimate: Mapping[str, Any] | None) -> str:
    """A value with its interval."""
    if estimate is None or estimate.get("value") is None:
        return ""
    if estimate.get("low") is None or estimate.get("high") is None:
        return f"{estimate['value']:.4f}"
    return f"{estimate['value']:.4f} (95 % interval {estimate['low']:.4f} to {estimate['high']:.4f})"


def format_setting(value: Any) -> str:
    """A value of a setting or an event; the entries of a dict in one line, a time in the reader's zone."""
    if isinstance(value, dict):
        return " ".join(f"{name}:{format_setting(entry)}" for name, entry in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) and _TIME.fullmatch(value):
        return format_time(value)
    return "-" if value is None else str(value)


def join_counts(counts: Sequence[Mapping[str, Any]], at_most: int = 12) -> str:
    """``cat 12, dog 7`` for entries with a name and a count."""
    shown = ", ".join(f"{entry['name']} {entry['count']:,}" for entry in counts[:at_most])
    return f"{shown} and {len(counts) - at_most} more" if len(counts) > at_most else shown


def _printable_text(text: str | Text) -> Text:
    return text if isinstance(text, Text) else Text(printable(text))
