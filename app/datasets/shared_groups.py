"""Test images whose group is in train or valid too: what a network says of them is no proof."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.datasets.manifest import Item


def learned_groups(items: Iterable[Item], split: Mapping[str, str]) -> set[str]:
    """The groups of which an image is in train or valid. ``split``: item id → split."""
    return {
        item.group for item in items if item.group is not None and split.get(item.id) in ("train", "valid")
    }


def shared_with_training(items: Iterable[Item], split: Mapping[str, str]) -> list[Item]:
    """The images of test, and those that came in a test folder and were left out of it, of such groups."""
    items = list(items)
    learned = learned_groups(items, split)
    return [item for item in items if item.group in learned and split.get(item.id, item.split) == "test"]
