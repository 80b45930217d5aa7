"""The split of a dataset into train, valid and test: pure, deterministic, stratified, without leaks.

Images with identical bytes form a group and never cross splits. Each class's groups are ranked by the
SHA-256 of (seed, content digest): test takes the first, valid the next, train the rest, so a dataset that
grows keeps most of its test images. How many is decided by the largest remainder, by class and overall.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.datasets.grouped_split import draw_whole
from app.datasets.manifest import SPLITS, DatasetManifest, Item, Split
from app.datasets.shared_groups import shared_with_training
from app.datasets.wholes import have_groups
from app.errors import SplitError
from app.schemas.hyperparameters import SplitSettings

_DRAWN: tuple[Split, ...] = ("test", "valid", "train")
Groups = dict[str, list[list[Item]]]  # class → groups of identical files
SplitMap = dict[str, Split]  # item id → split


def split_dataset(manifest: DatasetManifest, settings: SplitSettings, seed: int) -> SplitMap:
    """Assigns items to splits; the result is in the manifest's order.

    ``settings.seed`` goes before ``seed``. Folders that came split are kept, and only a missing valid or test
    split is drawn, from train. Items are left out of the result when counts ask for fewer images, and, in
    folders that came split, when an identical file is in test (or, for train, in valid). Where the settings
    ask for no test split, none is drawn. Images of one group stay together in what is drawn, and test images
    of a group that is in train or valid are left out, unless ``settings.ignore_groups``.
    Raises SplitError when a class has too few distinct images.
    """
    if len(manifest.classes) < 2:
        only = f"one class only, {manifest.classes[0]}" if manifest.classes else "no class"
        raise SplitError(
            f"there is {only}: a classifier learns to tell two or more apart",
            hint="Add images of another class. A model that is there already can be evaluated on these.",
        )
    seed = seed if settings.seed is None else settings.seed
    shares = {"train": settings.train, "valid": settings.valid, "test": settings.test}
    wanted = tuple(name for name in _DRAWN if shares[name])
    keeps_groups = not settings.ignore_groups and have_groups(manifest.items)

    def draw(items: Sequence[Item], splits: tuple[Split, ...]) -> SplitMap:
        if keeps_groups:
            return draw_whole(items, splits, shares, settings.is_counts, seed)
        return _draw(_group(items), splits, shares, settings.is_counts, seed)

    if not manifest.is_split:
        assigned = draw(manifest.items, wanted)
    else:
        kept = _without_leaks(manifest.items)
        _check_folders(manifest, kept)
        missing = tuple(name for name in wanted if name != "train" and name not in kept.values())
        train = [item for item in manifest.items if kept.get(item.id) == "train"]
        assigned = kept
        if missing:
            drawn = draw(train, (*missing, "train"))
            held_out: SplitMap = {key: split for key, split in kept.items() if split != "train"}
            assigned = held_out | drawn
        if keeps_groups:
            assigned = _without_shared(manifest.items, assigned)
    return {item.id: assigned[item.id] for item in manifest.items if item.id in assigned}


def _group(items: Sequence[Item]) -> Groups:
    by_content: dict[str, list[Item]] = {}
    for item in items:
        by_content.setdefault(item.sha256, []).append(item)
    groups: Groups = {}
    for group in by_content.values():
        groups.setdefault(group[0].label, []).append(group)
    return dict(sorted(groups.items()))


def _draw(
    groups: Groups, splits: tuple[Split, ...], shares: dict[str, float], is_counts: bool, seed: int
) -> SplitMap:
    small = [name for name, members in groups.items() if len(members) < len(splits)]
    if small:
        raise SplitError(
            f"a class needs at least {len(splits)} different images to be in {_listed(splits)}; "
            f"too few in {_listed(small)}",
            hint="Add images to these classes, or remove them from the dataset.",
        )
    sizes = np.array([len(members) for members in groups.values()], dtype=np.int64)
    wanted = np.array([shares[name] for name in splits], dtype=np.float64)
    counts = _counts(sizes, wanted, splits) if is_counts else _ratios(sizes, wanted)
    assigned: SplitMap = {}
    for members, row in zip(groups.values(), counts.tolist(), strict=True):
        ranked = iter(sorted(members, key=lambda group: _rank(seed, group[0].sha256)))
        for name, count in zip(splits, row, strict=True):
            for _ in range(count):
                assigned.update((item.id, name) for item in next(ranked))
    return assigned


def _rank(seed: int, sha256: str) -> bytes:
    return hashlib.sha256(f"{seed}:{sha256}".encode()).digest()


def _ratios(sizes: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    ratios = shares / shares.sum()
    return _apportion(sizes, ratios, _largest_remainder(ratios * sizes.sum()))


def _counts(
    sizes: NDArray[np.int64], totals: NDArray[np.float64], splits: tuple[Split, ...]
) -> NDArray[np.int64]:
    wanted, available = int(totals.sum()), int(sizes.sum())
    if wanted > available:
        raise SplitError(
            f"the counts ask for {wanted} images, the dataset has {available} different ones",
            hint="Ask for fewer, or give ratios.",
        )
    for name, total in zip(splits, totals, strict=True):
        if total < len(sizes):
            raise SplitError(
                f"{name} has {int(total)} images for {len(sizes)} classes, each class needs at least one",
                hint=f"Ask for at least {len(sizes)} images in each split.",
            )
    quota = sizes.astype(np.float64) * (wanted / available)
    rows = np.maximum(_largest_remainder(quota), len(splits))
    while rows.sum() > wanted:
        rows[np.where(rows > len(splits), rows - quota, -np.inf).argmax()] -= 1
    return _apportion(rows, totals / totals.sum(), totals.astype(np.int64))


def _largest_remainder(ideal: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers near ``ideal`` with the same sum; ties go to the first."""
    whole = np.floor(ideal + 1e-9).astype(np.int64)
    missing = round(float(ideal.sum())) - int(whole.sum())
    whole[np.argsort(whole - ideal, kind="stable")[:missing]] += 1
    return whole


def _apportion(
    rows: NDArray[np.int64], ratios: NDArray[np.float64], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Counts (classes, splits), each at least 1, with these row sums and, where that allows, column sums."""
    ideal = rows[:, np.newaxis] * ratios
    counts = np.stack([_largest_remainder(row) for row in ideal])
    for row in counts:
        while row.min() == 0:
            row[row.argmin()] += 1
            row[row.argmax()] -= 1
    # Rounding each class alone favours the same split every time; moving single images evens it out.
    while (surplus := counts.sum(axis=0) - columns).any():
        giver, taker = int(surplus.argmax()), int(surplus.argmin())
        gain = (counts - ideal)[:, giver] - (counts - ideal)[:, taker]
        gain[counts[:, giver] <= 1] = -np.inf
        row_index = int(gain.argmax())
        if surplus[giver] <= 0 or gain[row_index] == -np.inf:
            break
        counts[row_index, giver] -= 1
        counts[row_index, taker] += 1
    return counts


def _without_leaks(items: Sequence[Item]) -> SplitMap:
    """The folders' own split; of identical files, those in test are kept, else those in valid."""
    home: dict[str, Split] = {}
    for split in SPLITS:
        home.update((item.sha256, split) for item in items if item.split == split)
    return {item.id: item.split for item in items if item.split and home[item.sha256] == item.split}


def _without_shared(items: Sequence[Item], assigned: SplitMap) -> SplitMap:
    """The split without the test images whose group is in train or valid too."""
    shared = {item.id for item in shared_with_training(items, assigned)}
    left: SplitMap = {key: split for key, split in assigned.items() if key not in shared}
    if shared and "test" not in left.values():
        raise SplitError(
            "every test image is of a group that train or valid has images of too",
            hint="Give test groups of its own. split.ignore_groups: true tests on these images nevertheless; "
            "the accuracy may then be too high.",
        )
    return left


def _check_folders(manifest: DatasetManifest, kept: SplitMap) -> None:
    for split in ("valid", "test"):
        if split not in kept.values() and any(item.split == split for item in manifest.items):
            raise SplitError(
                f"every image in the {split} folder is also in another split",
                hint=f"Give {split} images of its own.",
            )
    trained = {item.label for item in manifest.items if kept.get(item.id) == "train"}
    untrained = [name for name in manifest.classes if name not in trained]
    if untrained:
        raise SplitError(
            f"the train folder has no image of its own for {_listed(untrained)}",
            hint="Add images of these classes to train, or remove the classes from valid and test.",
        )


def _listed(names: Sequence[str], at_most: int = 20) -> str:
    shown = ", ".join(names[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown
