"""Which class, split and group an image has by a table of labels, where folders do not say."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from app.datasets.labels import LabelTable, Row
from app.datasets.layout import Layout, Place, similar_names, split_of
from app.datasets.manifest import Split
from app.datasets.names import class_name_problem, name_key, show, unused_name
from app.errors import DatasetError, FieldError

UNNAMED = "no row of the table names it"
WITHOUT_CLASS = "the table gives it no class"
_LISTED = 20
_ABSOLUTE = re.compile(r"^(/|[A-Za-z]:|~)")


@dataclass(frozen=True)
class TableLayout:
    """``groups``: the keys that ``tables`` give, by the images' full names; none where folders say it all."""

    layout: Layout
    groups: dict[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Files:
    """Of an upload: ``images``, full name → SHA-256 of the content; ``others``, names of what is no image.

    ``raw``: the name that a file came with → the full name of the image that it is.
    """

    images: Mapping[str, str]
    others: Collection[str]
    raw: Mapping[str, str]

    def find(self, name: str) -> str | None:
        """The full name of the file that is, or came, under this name."""
        if name in self.images or name in self.others:
            return name
        return self.raw.get(name)


def read_table_layout(files: Files, tables: Iterable[LabelTable]) -> TableLayout:
    """Sorts images into classes, splits and groups by what tables say of them.

    A table names images by their path from its own folder, or from the outermost. Raises DatasetError for
    rows that name no image of the upload, or one image twice, with different classes.
    """
    said: dict[str, tuple[Row, LabelTable]] = {}
    missing: list[FieldError] = []
    for table in tables:
        folder = table.name.rpartition("/")[0]
        for row in table.rows:
            name = _find(row, table, folder, files)
            if name is None:
                missing.append(FieldError(f"{table.name}:{row.line}", f"there is no file {show(row.path)}"))
            elif name in files.images:
                _say(said, name, row, table)
    if missing:
        shown = ", ".join(error.message.removeprefix("there is no file ") for error in missing[:3])
        raise DatasetError(
            f"{len(missing):,} rows of the table name files that are not in the upload: {shown}",
            hint="Pack the images with the table, and give their paths from the table's folder.",
            errors=tuple(missing[:_LISTED]),
        )
    return _place(files.images, said, tuple(sorted({table.name for _, table in said.values()})))


def _say(said: dict[str, tuple[Row, LabelTable]], name: str, row: Row, table: LabelTable) -> None:
    if name not in said:
        said[name] = (row, table)
        return
    before, other = said[name]
    if (before.label, before.split, before.group) != (row.label, row.split, row.group):
        raise DatasetError(
            f"{show(name)} is there twice, as {show(str(before.label))} in line {before.line:,} of "
            f"{show(other.name)} and as {show(str(row.label))} in line {row.line:,} of {show(table.name)}",
            hint="Loupe gives each image one class: keep one row for it.",
        )


def _find(row: Row, table: LabelTable, folder: str, files: Files) -> str | None:
    """The full name of the file that a row means; None if it is not there. Raises DatasetError."""
    path = row.path.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if _ABSOLUTE.match(path) or ".." in parts or not parts:
        raise DatasetError(
            f"line {row.line:,} of {show(table.name)} names {show(row.path)}, which is no path in the upload",
            hint="Give paths from the table's folder, such as images/1.jpg.",
        )
    path = "/".join(parts)
    return (files.find(f"{folder}/{path}") if folder else None) or files.find(path)


def _place(
    pictures: Mapping[str, str], said: Mapping[str, tuple[Row, LabelTable]], tables: tuple[str, ...]
) -> TableLayout:
    places: dict[str, Place] = {}
    skipped: dict[str, str] = {}
    groups: dict[str, str] = {}
    taken: set[str] = set()
    for name, sha256 in sorted(pictures.items()):  # in no archive's order: of twins, the first keeps its name
        if name not in said:
            skipped[name] = UNNAMED
            continue
        row, table = said[name]
        if row.label is None:
            skipped[name] = WITHOUT_CLASS
            continue
        split = _split(row, table)
        _check_class(row, table, row.label)
        wanted = "/".join(filter(None, (split, row.label, name.rpartition("/")[2])))
        if name_key(wanted) in taken:
            wanted = unused_name(wanted, f"{name}\0{sha256}", taken)
        taken.add(name_key(wanted))
        places[name] = Place(wanted, row.label, split)
        if row.group is not None:
            groups[name] = row.group
    if len({place.split is None for place in places.values()}) > 1:
        raise DatasetError(
            "the table gives some images a split and others none",
            hint="Give each image train, valid or test; or leave the column out.",
        )
    classes = {place.label for place in places.values()}
    return TableLayout(Layout(places, skipped, (), similar_names(classes)), groups, tables)


def _split(row: Row, table: LabelTable) -> Split | None:
    """What the row says; else the folder that the table lies in, or the first one of the path."""
    if row.split is None:
        folders = [*table.name.split("/")[-2:-1], *row.path.replace("\\", "/").split("/")[:-1]]
        return next((split for folder in folders if (split := split_of(folder))), None)
    split = split_of(row.split)
    if split is None:
        raise DatasetError(
            f"line {row.line:,} of {show(table.name)} has the split {show(row.split)}",
            hint="A split is train, valid or test.",
        )
    return split


def _check_class(row: Row, table: LabelTable, label: str) -> None:
    if problem := class_name_problem(label):
        raise DatasetError(
            f"line {row.line:,} of {show(table.name)} has the class {show(label)}, which {problem}",
            hint="Give the class a name that a folder could have.",
        )
