"""Which test images are new to a model that may come from another dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.datasets.manifest import Item
from app.datasets.wholes import find_wholes


def find_learned(items: Sequence[Item], split: Mapping[str, str]) -> list[Item]:
    """The images of a dataset that a training saw: those of train, and of valid, which chose its epoch.

    ``split``: item id → split.
    """
    return [item for item in items if split.get(item.id) in ("train", "valid")]


def leave_out_learned(tested: Sequence[Item], learned: Sequence[Item]) -> list[tuple[Item, str]]:
    """The images of ``tested`` that belong together with none of ``learned``, each with the key of its whole.

    Also across datasets: by content, by the groups of the imports, which are known by their keys, and by
    near-duplicates as far as one of the datasets was examined with both images in it.
    """
    wholes = find_wholes([*tested, *learned])
    seen = set(wholes[len(tested) :])
    return [(item, whole) for item, whole in zip(tested, wholes, strict=False) if whole not in seen]
