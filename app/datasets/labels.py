"""Tables of labels: CSV, TSV or JSON lines that name images and their classes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.datasets.names import show
from app.errors import DatasetError

MOST_TABLE_BYTES = 64 * 2**20
"""Of all tables of an upload: a million images need about as much."""
_MOST_CELL_CHARACTERS = 2**17
_JSON_LINES = (".jsonl", ".ndjson")
READ_TABLES = (".csv", ".tsv", *_JSON_LINES)
_PATHS = ("file_name", "filename", "file", "path", "image_path", "image", "filepath", "img", "name")
_LABELS = ("label", "class", "class_name", "category", "target", "labels", "classes")
_SPLITS = ("split", "set", "subset", "partition")
_GROUPS = ("group", "group_id")
_DELIMITERS = ",;\t"
_DECLARED = re.compile(r"sep=([,;\t])\r?")
"""Excel's first line."""
_JOINTS = "|;"
_ALONE = -1
_HOT = {"0": False, "1": True, "0.0": False, "1.0": True, "": False, "false": False, "true": True}


@dataclass(frozen=True)
class Row:
    """What a table says of an image. ``line``: where, from 1. ``label``: None if it says of no class."""

    line: int
    path: str
    label: str | None
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class LabelTable:
    """``name``: the table's path in the upload."""

    name: str
    rows: tuple[Row, ...]


def read_table(name: str, content: bytes) -> LabelTable:
    """Raises DatasetError that names the table, and the row where one is wrong."""
    text = _decode(name, content)
    is_json = name.casefold().endswith(_JSON_LINES)
    rows = tuple(_read_json_lines(name, text) if is_json else _read_csv(name, text))
    if not rows:
        raise DatasetError(
            f"the table {show(name)} has no row that names an image",
            hint="Write a row for each image, with its path and its class.",
        )
    _refuse_several(name, rows)
    return LabelTable(name, rows)


def _decode(name: str, content: bytes) -> str:
    is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"the table {show(name)} is not text in UTF-8: its byte {error.start:,} is "
            f"{content[error.start]:#04x}",
            hint="Save it as CSV in UTF-8.",
        ) from None
    if "\0" in text:
        raise DatasetError(f"the table {show(name)} is no text", hint="Save it as CSV in UTF-8.")
    return text


def _read_csv(name: str, text: str) -> Iterator[Row]:
    first, _, rest = text.partition("\n")
    delimiter, before = max(_DELIMITERS, key=first.count), 0
    if declared := _DECLARED.fullmatch(first):
        delimiter, text, before = declared[1], rest, 1
    csv.field_size_limit(_MOST_CELL_CHARACTERS)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(lines, [])]
        column = {cell.casefold(): index for index, cell in reversed(list(enumerate(header)))}
        path, label = _find(column, _PATHS), _find(column, _LABELS)
        if path is None or (label is None and len(header) < 3):
            raise _no_columns(name, header)
        split, group = _find(column, _SPLITS), _find(column, _GROUPS)
        ended = lines.line_num
        for cells in lines:
            line, ended = before + ended + 1, lines.line_num  # where the row begins: a cell may have lines
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise _wrong(name, line, f"has {len(cells)} cells where the header has {len(header)}")
            place = cells[path].strip()
            if label is None:
                hot = _read_one_hot(name, line, header, cells, {path, split, group})
                found = hot
            else:
                found = cells[label].strip() or None
            yield Row(
                line,
                place,
                found,
                None if split is None else cells[split].strip() or None,
                None if group is None else cells[group].strip() or None,
            )
    except csv.Error as error:
        raise _wrong(name, before + lines.line_num, f"is no CSV: {error}") from None


def _read_one_hot(
    name: str, line: int, header: list[str], cells: list[str], others: set[int | None]
) -> str | None:
    """The class whose column is 1, as in the tables of Roboflow; None if there is none."""
    chosen = []
    for index, cell in enumerate(cells):
        if index in others:
            continue
        is_hot = _HOT.get(cell.strip().casefold())
        if is_hot is None:
            raise _no_columns(name, header)
        if is_hot:
            chosen.append(header[index])
    if len(chosen) > 1:
        raise _several(name, line, chosen)
    return chosen[0] if chosen else None


def _refuse_several(name: str, rows: Sequence[Row]) -> None:
    """Raises DatasetError for a label that joins several classes.

    A comma may be part of a name. It joins classes if these also stand alone, or in another order.
    """
    places: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        parts = _divide(row.label or "", ",")
        for place, part in enumerate(parts):
            places[part].add(place if len(parts) > 1 else _ALONE)
    for row in rows:
        label = row.label or ""
        for joint in _JOINTS:
            if len(parts := _divide(label, joint)) > 1:
                raise _several(name, row.line, parts)
        parts = _divide(label, ",")
        are_classes = all(_ALONE in places[part] for part in parts)
        if len(parts) > 1 and (are_classes or any(len(places[part] - {_ALONE}) > 1 for part in parts)):
            raise _several(name, row.line, parts)


def _divide(label: str, joint: str) -> list[str]:
    return [part for each in label.split(joint) if (part := each.strip())]


def _read_json_lines(name: str, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            raise _wrong(name, number, "is no JSON") from None
        if not isinstance(content, dict):
            raise _wrong(name, number, "is no JSON object")
        fields = {str(key).strip().casefold(): value for key, value in content.items()}
        path = _text(_first(fields, _PATHS))
        if path is None:
            raise _no_columns(name, list(map(str, content)))
        yield Row(
            number,
            path,
            _one_label(name, number, _first(fields, _LABELS)),
            _text(_first(fields, _SPLITS)),
            _text(_first(fields, _GROUPS)),
        )


def _one_label(name: str, line: int, value: Any) -> str | None:
    if isinstance(value, list):
        if len(value) > 1:
            raise _several(name, line, [str(each) for each in value])
        value = value[0] if value else None
    if isinstance(value, dict):
        raise _wrong(name, line, "has a label that is an object")
    return _text(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, (dict, list)):
        return None
    return str(value).strip() or None


def _find(column: Mapping[str, int], names: tuple[str, ...]) -> int | None:
    return next((column[name] for name in names if name in column), None)


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if name in fields), None)


def _wrong(name: str, line: int, what: str) -> DatasetError:
    return DatasetError(f"line {line:,} of {show(name)} {what}", hint="Mend the table, and import again.")


def _several(name: str, line: int, labels: list[str]) -> DatasetError:
    return DatasetError(
        f"line {line:,} of {show(name)} gives an image several classes: {', '.join(map(show, labels[:5]))}",
        hint="Loupe gives each image one class: keep the one that matters, or name the combination.",
    )


def _no_columns(name: str, header: list[str]) -> DatasetError:
    return DatasetError(
        f"the table {show(name)} does not say which image has which class: its columns are "
        f"{', '.join(map(show, header[:10])) or 'none'}",
        hint="Call the columns file_name and label, with split and group where there are any; or give each "
        "class a column of 0 and 1.",
    )
