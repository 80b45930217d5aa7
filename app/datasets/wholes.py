"""Which images must stay on one side of a split: they share a group, their content, or what they show."""

from __future__ import annotations

from collections.abc import Sequence

from app.datasets.manifest import Item


def have_groups(items: Sequence[Item]) -> bool:
    """Whether anything but exact copies holds images together."""
    return any(item.group is not None or item.near_group is not None for item in items)


def find_wholes(items: Sequence[Item]) -> list[str]:
    """A key for each item: that of all that it is joined to, also through others."""
    parent: dict[str, str] = {}

    def find(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for item in items:
        image = f"image:{item.sha256}"
        for kind, key in (("group", item.group), ("near", item.near_group)):
            if key is not None:
                parent[find(image)] = find(f"{kind}:{key}")
    return [find(f"image:{item.sha256}") for item in items]
