"""Which class and which split a picture belongs to, told from the folders that it lies in.

Two layouts are read, inside any number of folders that wrap everything: class folders, and train, valid and
test folders of class folders. Folders below a class folder belong to the class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.datasets.manifest import Split
from app.datasets.sources import show
from app.errors import DatasetError

_SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
_EXPECTED = (
    "Arrange the pictures as CLASS/picture.jpg, or as train/CLASS/picture.jpg, valid/CLASS/picture.jpg and "
    "test/CLASS/picture.jpg."
)


@dataclass(frozen=True)
class Place:
    """Where a picture belongs. ``name``: its path without the folders that wrap everything."""

    name: str
    label: str
    split: Split | None


@dataclass(frozen=True)
class Layout:
    """``places`` and ``skipped`` (the reason), by the pictures' full names; classes that have no picture."""

    places: dict[str, Place]
    skipped: dict[str, str]
    empty_classes: tuple[str, ...]


def read_layout(pictures: Iterable[str], folders: Iterable[str]) -> Layout:
    """Sorts pictures into classes and splits by their names; ``folders`` are all the folders' paths.

    Raises DatasetError when the folders follow neither layout, or when class names differ only by case.
    """
    paths = {name: name.split("/") for name in pictures}
    depth = _wrapping_depth(list(paths.values()))
    inner = {name: parts[depth:] for name, parts in paths.items()}
    is_split = _comes_split([parts for parts in inner.values() if len(parts) > 1])
    places: dict[str, Place] = {}
    skipped: dict[str, str] = {}
    for name, parts in inner.items():
        if len(parts) < (3 if is_split else 2):
            skipped[name] = "lies in no class folder"
        elif is_split:
            places[name] = Place("/".join(parts), parts[1], _SPLIT_NAMES[parts[0].casefold()])
        else:
            places[name] = Place("/".join(parts), parts[0], None)
    classes = {place.label for place in places.values()}
    wrapping = next(iter(paths.values()))[:depth] if paths else []
    empty = _class_folders(folders, wrapping, is_split) - classes
    _check_case(classes)
    return Layout(places, skipped, tuple(sorted(empty)))


def _wrapping_depth(paths: list[list[str]]) -> int:
    """How many folders wrap all pictures that lie in a class folder."""
    depth = 0
    while True:
        tops = {parts[depth] for parts in paths if len(parts) > depth + 1}
        has_folders_below = any(len(parts) > depth + 2 for parts in paths)
        if len(tops) != 1 or not has_folders_below or tops.pop().casefold() in _SPLIT_NAMES:
            return depth
        depth += 1


def _comes_split(paths: list[list[str]]) -> bool:
    tops = {parts[0] for parts in paths}
    with_folders = {parts[0] for parts in paths if len(parts) > 2}
    splits = {top for top in tops if top.casefold() in _SPLIT_NAMES}
    if splits & with_folders and tops - splits:
        raise DatasetError(
            f"beside {_listed(splits)} there are pictures in {_listed(tops - splits)}",
            hint=f"Move these folders into the split folders, or leave them out. {_EXPECTED}",
        )
    if splits and not tops - splits and not with_folders:
        raise DatasetError(
            f"the pictures lie directly in {_listed(splits)}, without class folders", hint=_EXPECTED
        )
    below = {parts[1].casefold() for parts in paths if len(parts) > 2}
    if not splits and below and below <= set(_SPLIT_NAMES) and all(len(parts) > 2 for parts in paths):
        raise DatasetError(
            f"the class folders {_listed(tops)} are divided into {_listed(below)}, not the other way round",
            hint=_EXPECTED,
        )
    return bool(splits & with_folders)


def _class_folders(folders: Iterable[str], wrapping: list[str], is_split: bool) -> set[str]:
    level = len(wrapping) + is_split
    found = set()
    for folder in folders:
        parts = folder.split("/")
        inside = parts[: len(wrapping)] == wrapping and len(parts) > level
        if inside and (not is_split or parts[len(wrapping)].casefold() in _SPLIT_NAMES):
            found.add(parts[level])
    return found


def _check_case(classes: set[str]) -> None:
    by_key: dict[str, str] = {}
    for name in sorted(classes):
        other = by_key.setdefault(name.casefold().strip(), name)
        if other != name:
            raise DatasetError(
                f"the classes {show(other)} and {show(name)} differ only by case or spaces",
                hint="Give the folders one name, or clearly different ones.",
            )


def _listed(names: Iterable[str], at_most: int = 8) -> str:
    ordered = sorted(names)
    shown = ", ".join(show(name) for name in ordered[:at_most])
    return f"{shown} and {len(ordered) - at_most} more" if len(ordered) > at_most else shown
