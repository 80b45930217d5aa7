"""A new version of a dataset: the images of one or several, fewer of them, or under other classes.

No image is read or copied: datasets are lists, and the images that they name are shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from app.datasets.class_map import check_class_map
from app.datasets.manifest import DatasetManifest, Item, create_manifest, item_id
from app.datasets.names import class_name_problem, name_key, show, unused_name
from app.errors import DatasetError, FieldError, InvalidRequestError
from app.images.decode import PixelRange, is_deep_grey
from app.schemas.dataset_edits import DatasetEdits
from app.words import count

_LISTED = 20


def revise(manifests: Sequence[DatasetManifest], edits: DatasetEdits) -> DatasetManifest:
    """What the images of all ``manifests`` make after the edits; the first dataset is the one that is edited.

    An image that several hold under one name and class is there once; of two contents under one name, the
    later is called after its content. Raises InvalidRequestError for an image or a class that is not there,
    and DatasetError for datasets that cannot be one, and where nothing would change or remain.
    """
    pixel_range = _one_pixel_range(manifests)
    _check_splits(manifests)
    joined = create_manifest([item for manifest in manifests for item in manifest.items])
    if edits.class_map is not None:
        check_class_map(edits.class_map, joined.classes)
    removed, labels = _find(joined.items, edits)
    items: list[Item] = []
    taken: dict[str, str] = {}
    for manifest in manifests:
        for item in manifest.items:
            if item.id in removed:
                continue
            label = labels.get(item.id) or _map(edits, item.label)
            if label is not None:
                items += _keep_apart(_relabel(item, label), taken)
    if not items:
        raise DatasetError("no image would remain", hint="Remove fewer images or classes.")
    revised = create_manifest(items, pixel_range)
    if revised.digest == manifests[0].digest:
        raise DatasetError("nothing would change", hint=f"{_what_is(manifests)} is like that already.")
    return revised


def _what_is(manifests: Sequence[DatasetManifest]) -> str:
    return "The dataset" if len(manifests) == 1 else "The dataset, with all images of the others,"


def _map(edits: DatasetEdits, label: str) -> str | None:
    return label if edits.class_map is None else edits.class_map.apply(label)


def _find(items: Iterable[Item], edits: DatasetEdits) -> tuple[set[str], dict[str, str]]:
    """The ids of the images that leave, and the new classes of others by id."""
    if not (edits.remove or edits.relabel):
        return set(), {}
    ids: dict[str, list[str]] = {}
    for item in items:
        ids.setdefault(item.id, []).append(item.id)
        ids.setdefault(item.name, []).append(item.id)
    unknown = [
        FieldError(f"/{field}", f"there is no image {show(name)}")
        for field, names in (("remove", edits.remove), ("relabel", edits.relabel))
        for name in names
        if name not in ids
    ]
    if unknown:
        raise InvalidRequestError(
            f"{count(len(unknown), 'image is', 'images are')} not in the dataset: "
            f"{', '.join(error.message.removeprefix('there is no image ') for error in unknown[:5])}.",
            hint="`GET /datasets/<id>/items` lists ids and names.",
            errors=tuple(unknown[:_LISTED]),
        )
    for name, label in edits.relabel.items():
        _check_label(name, label)
    removed = {identifier for name in edits.remove for identifier in ids[name]}
    labels = {identifier: label for name, label in edits.relabel.items() for identifier in ids[name]}
    return removed, labels


def _check_label(name: str, label: str) -> None:
    """Raises InvalidRequestError for a class that could not be a folder."""
    if problem := class_name_problem(label):
        raise InvalidRequestError(
            f"{show(label)} cannot be the name of a class: it {problem}.",
            hint="Give the class a name that a folder could have.",
            errors=(FieldError("/relabel", f"{show(name)} would become {show(label)}"),),
        )


def _relabel(item: Item, label: str) -> Item:
    """The item under its class, and under a name that lies in the folder of that class."""
    if label == item.label:
        return item
    name = _move(item, label)
    return replace(item, id=item_id(label, item.split, name, item.sha256), label=label, name=name)


def _move(item: Item, label: str) -> str:
    """Where its folders say the old class, they say the new one."""
    *folders, file = item.name.split("/")
    split, folders = (folders[:1], folders[1:]) if item.split is not None else ([], folders)
    old = item.label.split("/")
    if folders[: len(old)] == old:
        folders = [label, *folders[len(old) :]]
    elif folders[-len(old) :] == old:
        folders = [*folders[: -len(old)], label]
    else:
        folders = [label]
    return "/".join((*split, *folders, file))


def _keep_apart(item: Item, taken: dict[str, str]) -> list[Item]:
    """The item under a name that no other one has; none, if it is there already."""
    key = name_key(item.name)
    if key not in taken:
        taken[key] = item.id
        return [item]
    if taken[key] == item.id:
        return []
    name = unused_name(item.name, item.sha256, taken)
    renamed = replace(item, id=item_id(item.label, item.split, name, item.sha256), name=name)
    taken[name_key(name)] = renamed.id
    return [renamed]


def _one_pixel_range(manifests: Sequence[DatasetManifest]) -> PixelRange | None:
    """That of the datasets that hold 16-bit greyscale. Raises DatasetError where they differ."""
    ranges = {
        manifest.pixel_range
        for manifest in manifests
        if manifest.pixel_range is not None or any(map(is_deep_grey, _notes(manifest)))
    }
    if len(ranges) > 1:
        read = " and ".join(
            "0-65535" if each is None else f"{each[0]}-{each[1]}" for each in sorted(ranges, key=str)
        )
        raise DatasetError(
            f"the datasets read 16-bit greyscale differently: {read}",
            hint="Import the added images again with the pixel_range of the dataset that they join.",
        )
    return next(iter(ranges), None)


def _notes(manifest: DatasetManifest) -> set[str]:
    return {note for item in manifest.items for note in item.notes}


def _check_splits(manifests: Sequence[DatasetManifest]) -> None:
    if len({manifest.is_split for manifest in manifests}) > 1:
        raise DatasetError(
            "some of the datasets came in train, valid and test folders, others did not",
            hint="Import the added images as the dataset came that they join: with such folders, or without.",
        )
