"""Which class, split and group an image has by a table of labels, where folders do not say."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from posixpath import normpath

from app.datasets.labels import LabelTable, Row
from app.datasets.layout import Layout, Place, similar_names, split_of
from app.datasets.manifest import Split
from app.datasets.names import class_name_problem, name_key, show, unused_name
from app.errors import DatasetError, FieldError
from app.words import count

UNNAMED = "no row of the table names it"
WITHOUT_CLASS = "the table gives it no class"
_LISTED = 20
_ABSOLUTE = re.compile(r"^(/|[A-Za-z]:|~)")


@dataclass(frozen=True)
class Disagreement:
    """A table that gives ``rows`` of ``of`` images another class than their folders do.

    ``line``, ``image``, ``label``, ``folder``: the first of them, its class by the table and by the folder.
    """

    table: str
    rows: int
    of: int
    line: int
    image: str
    label: str
    folder: str


@dataclass(frozen=True)
class TableLayout:
    """``groups``: the keys that ``tables`` give, by the images' full names; none where folders say it all.

    ``disagreements``: of tables beside class folders, which were not read for that.
    """

    layout: Layout
    groups: dict[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()


@dataclass(frozen=True)
class Files:
    """Of an upload: ``images``, full name → SHA-256 of the content; ``others``, names of what is no image.

    ``raw``: the name that a file came with → the full name of the image that it is.
    """

    images: Mapping[str, str]
    others: Collection[str]
    raw: Mapping[str, str]

    def find(self, name: str) -> str | None:
        """The full name of the file that is, or came, under this name; else of the one image but for case."""
        if name in self.images or name in self.others:
            return name
        return self.raw.get(name) or self._by_folded.get(name.casefold())

    def find_elsewhere(self, parts: Sequence[str]) -> tuple[str, str] | None:
        """An image whose path ends like this one's, and what of the path is then too much."""
        for start in range(1, len(parts)):
            if (found := self.find("/".join(parts[start:]))) is not None:
                return found, "/".join(parts[:start]) + "/"
        return (found, "") if (found := self._by_last.get(parts[-1])) is not None else None

    @cached_property
    def _by_folded(self) -> dict[str, str]:
        return _only_ones((name.casefold(), name) for name in self.images)

    @cached_property
    def _by_last(self) -> dict[str, str]:
        return _only_ones((name.rpartition("/")[2], name) for name in self.images)


def _only_ones(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of keys that several names have, none."""
    found: dict[str, str | None] = {}
    for key, name in pairs:
        found[key] = None if key in found else name
    return {key: name for key, name in found.items() if name is not None}


def read_table_layout(files: Files, tables: Iterable[LabelTable]) -> TableLayout:
    """Sorts images into classes, splits and groups by what tables say of them.

    A table names images by their path from its own folder, or from the outermost. Raises DatasetError for
    rows that name no image of the upload, or one image twice, with different classes.
    """
    said: dict[str, tuple[Row, LabelTable]] = {}
    missing: list[_Missing] = []
    for table in tables:
        for row in table.rows:
            paths = _paths(row, table)
            name = next((found for path in paths if (found := files.find(path))), None)
            if name is None:
                missing.append(_Missing(row, table, is_outside=not paths))
            elif name in files.images:
                _say(said, name, row, table)
    if missing:
        raise _describe_missing(missing, files)
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


@dataclass(frozen=True)
class _Missing:
    """A row whose file is not there. ``is_outside``: its path could be none of the upload."""

    row: Row
    table: LabelTable
    is_outside: bool

    def to_error(self) -> FieldError:
        what = "is no path in the upload" if self.is_outside else "is not there"
        return FieldError(f"{self.table.name}:{self.row.line}", f"{show(self.row.path)} {what}")


def _paths(row: Row, table: LabelTable) -> list[str]:
    """What the row's path may mean: from the table's folder, from the outermost; none if it leads out."""
    path = row.path.replace("\\", "/")
    if _ABSOLUTE.match(path) or not path.strip("./"):
        return []
    folder = table.name.rpartition("/")[0]
    joined = [normpath(f"{folder}/{path}"), normpath(path)] if folder else [normpath(path)]
    return [each for each in joined if each != ".." and not each.startswith("../")]


def _describe_missing(missing: Sequence[_Missing], files: Files) -> DatasetError:
    first = next((each for each in missing if each.is_outside), missing[0])
    if first.is_outside:
        outside = sum(each.is_outside for each in missing) - 1
        more = f" ({count(outside, 'other row', 'other rows')} too)" if outside else ""
        detail = (
            f"line {first.row.line:,} of {show(first.table.name)} names {show(first.row.path)}, which is no "
            f"path in the upload{more}"
        )
    else:
        shown = ", ".join(show(each.row.path) for each in missing[:3])
        one, several = "row of the table names a file that is", "rows of the table name files that are"
        detail = f"{count(len(missing), one, several)} not in the upload: {shown}"
    parts = [part for part in first.row.path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    hint = (
        "Pack the images with the table, and give their paths from the table's folder, such as images/1.jpg."
    )
    if parts and (elsewhere := files.find_elsewhere(parts)) is not None:
        name, prefix = elsewhere
        hint = f"The upload has {show(name)}: " + (
            f"take {show(first.row.path.replace(chr(92), '/').partition(prefix)[0] + prefix)} off the paths."
            if prefix
            else "give the paths so."
        )
    return DatasetError(detail, hint=hint, errors=tuple(each.to_error() for each in missing[:_LISTED]))


def find_disagreements(
    files: Files, tables: Iterable[LabelTable], layout: Layout
) -> tuple[Disagreement, ...]:
    """Which tables give images of class folders other classes.

    A table may call all classes otherwise, such as by numbers: then each is the folder that most of its
    images lie in.
    """
    found = []
    for table in tables:
        placed = [
            (row, name, row.label, layout.places[name].label)
            for row in table.rows
            if row.label is not None
            and (name := next((each for path in _paths(row, table) if (each := files.find(path))), None))
            and name in layout.places
        ]
        homes: dict[str, Counter[str]] = defaultdict(Counter)
        for _, _, label, folder in placed:
            homes[label][folder] += 1
        if not {label for _, _, label, _ in placed}.isdisjoint(folder for *_, folder in placed):
            meant = {label: label for label in homes}
        else:
            meant = {label: counts.most_common(1)[0][0] for label, counts in homes.items()}
        others = [each for each in placed if meant[each[2]] != each[3]]
        if others:
            row, name, label, folder = others[0]
            found.append(Disagreement(table.name, len(others), len(placed), row.line, name, label, folder))
    return tuple(found)


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
