"""Which class and which split an image belongs to, told from the folders that it lies in.

Two layouts are read, inside any number of folders that wrap everything: class folders, and train, valid and
test folders of class folders, in their usual spellings. Where folders of several levels could be the classes,
the person who imports is asked.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from app.datasets.names import name_key, show
from app.errors import ChoiceNeededError, DatasetError, FieldError

if TYPE_CHECKING:  # it brings NumPy, which the command line starts without
    from app.datasets.manifest import Split

ClassLevel = Literal["top", "leaf", "path"]

NO_CLASS = "lies in no class folder"
UNLABELLED = "lies in a folder of images without labels"
"""Why an image is skipped that has no class on purpose."""

_SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "development": "valid",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "holdout": "test",
    "evaluation": "test",
    "eval": "test",
}
_EVALUATIONS = frozenset({"evaluation", "eval"})
"""Names of a test split; where another folder is one, of a valid split."""
_SPLITS_AMONG_SPLITS = frozenset({"trn", "tst", *_EVALUATIONS})
"""Names that are a split only where another one lies beside them."""
_UNLABELLED = frozenset({"pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled"})
_BESIDE_NAMES = frozenset({"set", "seg", "data", "dataset", "split", "images", "imgs", "pictures"})
"""Words that people put before or after the name of a split."""
_ALWAYS_SPLITS = frozenset({"train", "training", "valid", "val", "validation", "test", "testing"})
"""Names that are a split also where no other split lies beside them."""
_EXPECTED = (
    "Arrange the images as CLASS/image.jpg, or as train/CLASS/image.jpg, valid/CLASS/image.jpg and "
    "test/CLASS/image.jpg."
)
_OR_CLASSES = "If no folder is a split, import again with class_level: top, leaf or path."
_LEVELS: dict[ClassLevel, Callable[[list[str]], str]] = {
    "top": lambda folders: folders[0],
    "leaf": lambda folders: folders[-1],
    "path": lambda folders: "/".join(folders),
}
_OTHERS: dict[ClassLevel, Callable[[list[str]], list[str]]] = {
    "top": lambda folders: folders[1:],
    "leaf": lambda folders: folders[:-1],
    "path": lambda _folders: [],
}
"""The folders that are not the class."""


@dataclass(frozen=True)
class Place:
    """Where an image belongs. ``name``: its path without the folders that wrap everything. ``folder``: the
    folders above and below that of its class, joined; empty if there are none.
    """

    name: str
    label: str
    split: Split | None
    folder: str = ""


@dataclass(frozen=True)
class Layout:
    """``places`` and ``skipped`` (the reason), by the images' full names; classes that have no image.

    ``similar_classes``: classes whose names differ only by case, or by blanks and dots at their ends.
    """

    places: dict[str, Place]
    skipped: dict[str, str]
    empty_classes: tuple[str, ...]
    similar_classes: tuple[tuple[str, ...], ...] = ()


def read_layout(
    pictures: Iterable[str], folders: Iterable[str], class_level: ClassLevel | None = None
) -> Layout:
    """Sorts images into classes and splits by their names; ``folders`` are all the folders' paths.

    Raises DatasetError when the folders follow neither layout, and ChoiceNeededError when folders of several
    levels could be the classes and ``class_level`` is None.
    """
    paths = {name: name.split("/") for name in pictures}
    depth = _wrapping_depth(list(paths.values()), stops_at=_ALWAYS_SPLITS)
    wrapping = next(iter(paths.values()))[:depth] if paths else []
    inner = {name: parts[depth:] for name, parts in paths.items()}
    in_folders = [parts for parts in inner.values() if len(parts) > 1]
    is_split = _comes_split(in_folders, class_level)
    splits = _name_splits({parts[0] for parts in in_folders}) if is_split else {}
    seen_through = _folders_in_splits(list(inner.values())) if is_split else {}
    skipped: dict[str, str] = {}
    class_folders: dict[str, list[str]] = {}
    for name, parts in inner.items():
        below = parts[_first_class_folder(parts, is_split, seen_through) : -1]
        if is_split and len(parts) > 1 and _is_unlabelled(parts[0]):
            skipped[name] = UNLABELLED
        elif below:
            class_folders[name] = below
        else:
            skipped[name] = NO_CLASS
    level = class_level or _told_level(class_folders.values())
    places = {
        name: Place(
            "/".join(inner[name]),
            _LEVELS[level](below),
            splits.get(inner[name][0]),
            "/".join(_OTHERS[level](below)),
        )
        for name, below in class_folders.items()
    }
    classes = {place.label for place in places.values()}
    others = [parts[depth:] for parts in (f.split("/") for f in folders) if parts[:depth] == wrapping]
    empty = _empty_classes(others, is_split, seen_through, class_folders.values(), class_level)
    return Layout(places, skipped, tuple(sorted(empty - classes)), similar_names(classes))


def split_of(folder: str) -> Split | None:
    """The split that a folder is called after: ``Train``, ``training_set``, ``seg_train``, ``hold-out``."""
    return _SPLIT_NAMES.get(_split_word(folder))


def _split_word(folder: str) -> str:
    words = [word for word in re.split(r"[-_ ]+", folder.casefold()) if word]
    if words[:2] == ["hold", "out"]:
        words[:2] = ["holdout"]
    words = [re.sub(r"(?<=.)(data)?set$", "", word) if word != "dataset" else word for word in words]
    named = [word for word in words if word not in _BESIDE_NAMES]
    return named[0] if len(named) == 1 else ""


def _name_splits(folders: Iterable[str]) -> dict[str, Split]:
    """The folders that are splits, and which."""
    named = {folder: split for folder in folders if (split := split_of(folder))}
    evaluations = {folder for folder in named if _split_word(folder) in _EVALUATIONS}
    if any(named[folder] == "test" for folder in named.keys() - evaluations):
        named.update(dict.fromkeys(evaluations, "valid"))
    return named


def _is_unlabelled(folder: str) -> bool:
    words = [word for word in re.split(r"[-_ ]+", folder.casefold()) if word not in _BESIDE_NAMES]
    return len(words) == 1 and words[0] in _UNLABELLED


def _wrapping_depth(paths: list[list[str]], stops_at: frozenset[str] = frozenset()) -> int:
    """How many folders wrap all images that lie in a class folder."""
    depth = 0
    while True:
        tops = {parts[depth] for parts in paths if len(parts) > depth + 1}
        has_folders_below = any(len(parts) > depth + 2 for parts in paths)
        if len(tops) != 1 or not has_folders_below or tops.pop().casefold() in stops_at:
            return depth
        depth += 1


def _comes_split(paths: list[list[str]], class_level: ClassLevel | None) -> bool:
    """Whether the outermost folders are splits; where they cannot be, ``class_level`` makes them classes."""
    tops = {parts[0] for parts in paths}
    with_folders = {parts[0] for parts in paths if len(parts) > 2}
    splits = {top for top in tops if split_of(top)}
    others = {top for top in tops - splits if not _is_unlabelled(top)}
    if others and all(_split_word(top) in _SPLITS_AMONG_SPLITS for top in splits):
        splits = set()
    if problem := _why_not_split(paths, tops, splits, others, with_folders):
        if class_level is None:
            raise problem
        return False
    return bool(splits & with_folders)


def _why_not_split(
    paths: list[list[str]], tops: set[str], splits: set[str], others: set[str], with_folders: set[str]
) -> DatasetError | None:
    """Why folders that are called like splits are none, as far as that needs an answer."""
    if splits & with_folders and others:
        beside = f"beside {_listed(splits)} there are images in {_listed(others)}"
        move = "Move these folders into the split folders, or leave them out."
        if len(splits) == 1:
            return _ask_for_level(
                f"{beside}: if {_listed(splits)} is a class, the classes could be",
                Counter(tuple(parts[:-1]) for parts in paths),
                f"If it is a split: {move[0].lower()}{move[1:]}",
            )
        return DatasetError(beside, hint=f"{move} {_EXPECTED} {_OR_CLASSES}")
    if splits and not tops - splits and not with_folders:
        return DatasetError(
            f"the images lie directly in {_listed(splits)}, without class folders",
            hint=f"{_EXPECTED} {_OR_CLASSES}",
        )
    below = {parts[1] for parts in paths if len(parts) > 2}
    if not splits and below and all(map(split_of, below)) and all(len(parts) > 2 for parts in paths):
        return DatasetError(
            f"the class folders {_listed(tops)} are divided into {_listed(below)}, not the other way round",
            hint=f"{_EXPECTED} {_OR_CLASSES}",
        )
    return None


def _folders_in_splits(paths: list[list[str]]) -> dict[str, int]:
    """How many folders inside each split folder wrap all of it: ``seg_train/seg_train``, ``train/images``."""
    found: dict[str, int] = {}
    tops = {parts[0] for parts in paths if len(parts) > 2 and split_of(parts[0])}
    for top in tops:
        inside = [parts[1:] for parts in paths if parts[0] == top and len(parts) > 2]
        depth = 0
        while _is_doubled(top, {parts[depth] if len(parts) > depth + 1 else "" for parts in inside}):
            depth += 1
        found[top] = depth
    rest = [parts[1 + found[parts[0]] :] for parts in paths if parts[0] in tops]
    shared = _wrapping_depth(rest) if all(len(parts) != 2 for parts in rest) else 0
    return {top: depth + shared for top, depth in found.items()}


def _is_doubled(top: str, inside: set[str]) -> bool:
    if len(inside) != 1 or not (only := next(iter(inside))):
        return False
    return only.casefold() == top.casefold() or split_of(only) == split_of(top)


def _first_class_folder(parts: list[str], is_split: bool, seen_through: Mapping[str, int]) -> int:
    return 1 + seen_through.get(parts[0], 0) if is_split else 0


def _told_level(class_folders: Iterable[list[str]]) -> ClassLevel:
    """The outermost level; raises ChoiceNeededError if folders in it could be classes of their own."""
    counts = Counter(map(tuple, class_folders))
    # A folder that holds images itself is a class; one that only holds several folders may group classes.
    inside = Counter(folders[0] for folders in counts)
    if not any(several > 1 and (top,) not in counts for top, several in inside.items()):
        return "top"
    raise _ask_for_level("folders of several levels could be the classes", counts)


def _ask_for_level(problem: str, counts: Counter[tuple[str, ...]], other: str = "") -> ChoiceNeededError:
    readings = [_describe_level(level, counts) for level in _LEVELS]
    return ChoiceNeededError(
        f"{problem}: {'; '.join(readings)}",
        hint="Choose the level of the classes: `loupe job retry JOB --class-level LEVEL`, or "
        '`POST /jobs/<id>/retry` {"class_level": "LEVEL"}. '
        f"Levels: {', '.join(_LEVELS)}. The upload is kept.{f' {other}' if other else ''}",
        errors=tuple(FieldError("/class_level", reading) for reading in readings),
    )


def _describe_level(level: ClassLevel, counts: Counter[tuple[str, ...]], at_most: int = 8) -> str:
    classes: Counter[str] = Counter()
    for folders, count in counts.items():
        classes[_LEVELS[level](list(folders))] += count
    listed = ", ".join(f"{show(name)} {count:,}" for name, count in sorted(classes.items())[:at_most])
    noun = "class" if len(classes) == 1 else "classes"
    return f"{level}: {len(classes):,} {noun} ({listed}{' …' if len(classes) > at_most else ''})"


def _empty_classes(
    folders: Iterable[list[str]],
    is_split: bool,
    seen_through: Mapping[str, int],
    with_pictures: Iterable[list[str]],
    class_level: ClassLevel | None,
) -> set[str]:
    inside = [
        parts[_first_class_folder(parts, is_split, seen_through) :]
        for parts in folders
        if parts and (not is_split or split_of(parts[0]))
    ]
    found = {tuple(parts) for parts in inside if parts}
    if class_level in (None, "top"):
        return {parts[0] for parts in found}
    # Below the outermost level only a folder that holds neither images nor folders is an empty class.
    used = {tuple(parts[:depth]) for parts in with_pictures for depth in range(1, len(parts) + 1)}
    holding = {parts[:-1] for parts in found}
    return {_LEVELS[class_level](list(parts)) for parts in found - used - holding}


def similar_names(classes: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Those that differ only by case, or by blanks and dots at their ends."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes):
        by_key[name_key(name)].append(name)
    return tuple(tuple(names) for names in by_key.values() if len(names) > 1)


def _listed(names: Iterable[str], at_most: int = 8) -> str:
    ordered = sorted(names)
    shown = ", ".join(show(name) for name in ordered[:at_most])
    return f"{shown} and {len(ordered) - at_most} more" if len(ordered) > at_most else shown
