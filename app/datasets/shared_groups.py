"""Test images that must stay with one of train or valid: what a network says of them is no proof."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.datasets.manifest import Item
from app.datasets.wholes import find_wholes, have_groups


def shared_with_training(items: Iterable[Item], split: Mapping[str, str]) -> list[Item]:
    """The images of test, and those that came in a test folder and were left out of it, of such groups.

    ``split``: item id → split. Exact copies alone are no group: a split has left them out before.
    """
    items = list(items)
    if not have_groups(items):
        return []
    wholes = find_wholes(items)
    learned = {
        whole for item, whole in zip(items, wholes, strict=True) if split.get(item.id) in ("train", "valid")
    }
    grouped = {
        whole for item, whole in zip(items, wholes, strict=True) if have_groups([item]) and whole in learned
    }
    return [
        item
        for item, whole in zip(items, wholes, strict=True)
        if whole in grouped and split.get(item.id, item.split) == "test"
    ]
