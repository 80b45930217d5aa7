"""The near-duplicate groups of a dataset, kept beside its manifest, whose digest is of what was imported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from app.datasets.manifest import DatasetManifest, load_manifest
from app.datasets.seals import read_sealed, write_sealed
from app.features.files import NEAR_GROUPS
from app.schemas.message import Message

Groups = tuple[tuple[str, ...], ...]


class NearGroups(Message):
    """The content of ``near_groups.json``: the ids of the items of each group; ``digest``: the dataset's."""

    format_version: Literal[1] = 1
    digest: str
    groups: Groups


def write_near_groups(folder: Path, manifest: DatasetManifest, groups: Iterable[Sequence[str]]) -> None:
    """Leaves them in the folder of a dataset."""
    content = NearGroups(digest=manifest.digest, groups=tuple(map(tuple, groups)))
    write_sealed(folder / NEAR_GROUPS, content)


def load_dataset(folder: Path) -> DatasetManifest:
    """A dataset's manifest, its items with the near-duplicate groups that are known.

    Raises DatasetError when the manifest is missing, damaged or of another version.
    """
    manifest = load_manifest(folder)
    groups = read_near_groups(folder, manifest)
    return manifest if groups is None else with_near_groups(manifest, groups)


def read_near_groups(folder: Path, manifest: DatasetManifest) -> Groups | None:
    """The ids of the items of each group; None if nothing looked yet, or what is there is not sound."""
    found = read_sealed(NearGroups, folder / NEAR_GROUPS)
    return found.groups if found is not None and found.digest == manifest.digest else None


def with_near_groups(manifest: DatasetManifest, groups: Iterable[Sequence[str]]) -> DatasetManifest:
    """The manifest, its items with these groups: each is named by the first of its items."""
    names = {item: group[0] for group in groups for item in group}
    items = tuple(replace(item, near_group=names.get(item.id)) for item in manifest.items)
    return replace(manifest, items=items)
