"""The validation report of an import: what is in the dataset, what was left out and why, and what to do."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median_low
from typing import Any

from app.datasets.depth import Depth
from app.datasets.groups import describe_groups
from app.datasets.layout import NO_CLASS
from app.datasets.manifest import SPLITS, DatasetManifest, Item
from app.datasets.names import OddName, show
from app.datasets.sources import LeftOut
from app.datasets.split import split_dataset
from app.datasets.table_layout import Disagreement
from app.datasets.tables import mention_tables
from app.errors import SplitError
from app.images.formats import format_of_name
from app.schemas.hyperparameters import SplitSettings
from app.words import count

LISTED = 1000  # longer lists are cut; their totals are exact
_SHOWN_COPIES = 10  # of one image
_FEW_PICTURES, _IMBALANCE = 20, 10
_KIN = {"mpo": "jpeg", "avif": "heif"}  # formats that share their extensions


@dataclass(frozen=True)
class Findings:
    """What an import came upon. ``modes``: item id → Pillow mode; None where no image was decoded.
    ``odd_names``: of images and folders. ``labels_from``: the tables that said the classes.
    """

    manifest: DatasetManifest
    modes: Mapping[str, str] | None
    depth: Depth
    corrupt: Sequence[LeftOut] = ()
    skipped: Sequence[LeftOut] = ()
    empty_classes: tuple[str, ...] = ()
    odd_names: tuple[OddName, ...] = ()
    renamed_folders: Mapping[str, str] = field(default_factory=dict)
    similar_classes: tuple[tuple[str, ...], ...] = ()
    tables: tuple[str, ...] = ()
    labels_from: tuple[str, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    name_encoding: str | None = None
    encoding_reason: str | None = None


def create_report(findings: Findings) -> dict[str, Any]:
    """The report as plain data, the content of ``report.json``."""
    manifest = findings.manifest
    copies = _copies(manifest.items)
    duplicates = [[item.name for item in group] for group in copies]
    conflicts = [group for group in copies if len({item.label for item in group}) > 1]
    leaks = [group for group in copies if len({item.split for item in group}) > 1]
    wrong = [
        {"name": item.name, "format": item.format} for item in manifest.items if has_wrong_extension(item)
    ]
    report: dict[str, Any] = {
        "digest": manifest.digest,
        "files": len(manifest.items) + len(findings.corrupt) + len(findings.skipped),
        "items": len(manifest.items),
        "is_split": manifest.is_split,
        "splits": split_counts(manifest.items),
        "classes": _describe_classes(findings),
        "empty_classes": list(findings.empty_classes),
        "renamed_classes": _renamed_classes(findings),
        "similar_classes": [list(names) for names in findings.similar_classes],
        "small_classes": _small_classes(manifest),
        "corrupt": _with_reasons(findings.corrupt),
        "skipped": _with_reasons(findings.skipped),
        "odd_names": _cut([asdict(name) for name in findings.odd_names]),
        "duplicates": _cut(duplicates),
        "copies": _cut([_describe_copies(group) for group in copies]),
        "conflicting_labels": _cut([_describe_conflict(group) for group in conflicts]),
        "across_splits": _cut([[item.name for item in group] for group in leaks]),
        "wrong_extensions": _cut(wrong),
        "labels_from": list(findings.labels_from),
        "labels_disagree": [asdict(each) for each in findings.disagreements],
        "groups": describe_groups(manifest.items),
        "deep_grey": findings.depth.describe(),
        "name_encoding": findings.name_encoding,
        "encoding_reason": findings.encoding_reason,
        "notes": dict(Counter(note for item in manifest.items for note in item.notes).most_common()),
        "totals": {
            "corrupt": len(findings.corrupt),
            "skipped": len(findings.skipped),
            "odd_names": len(findings.odd_names),
            "duplicates": len(duplicates),
            "conflicting_labels": len(conflicts),
            "across_splits": len(leaks),
            "wrong_extensions": len(wrong),
        },
    }
    without_class = any(file.reason == NO_CLASS for file in findings.skipped)
    report["tables"] = list(findings.tables) if without_class else []
    report["training_refused"] = _why_not_trained(manifest)
    report["advice"] = [*_advise(report), *findings.depth.advise()]
    return report


def split_counts(items: Iterable[Item]) -> dict[str, int] | None:
    """Images in each of the upload's own splits; None where it did not come split."""
    counts = Counter(item.split for item in items if item.split is not None)
    return {split: counts[split] for split in SPLITS} if counts else None


def has_wrong_extension(item: Item) -> bool:
    """Whether the file's name promises another image format than its content has."""
    promised = format_of_name(item.name)
    return promised is not None and _KIN.get(promised, promised) != _KIN.get(item.format, item.format)


def _copies(items: Iterable[Item]) -> list[list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.sha256].append(item)
    return [group for group in groups.values() if len(group) > 1]


def _describe_classes(findings: Findings) -> list[dict[str, Any]]:
    members: dict[str, list[Item]] = {name: [] for name in findings.manifest.classes}
    for item in findings.manifest.items:
        members[item.label].append(item)
    return [
        {
            "name": name,
            "count": len(items),
            "splits": split_counts(items),
            "width": _spread([item.width for item in items]),
            "height": _spread([item.height for item in items]),
            "bytes": sum(item.bytes for item in items),
            "formats": dict(Counter(item.format for item in items).most_common()),
            **_describe_modes(findings.modes, items),
        }
        for name, items in members.items()
    ]


def _describe_modes(modes: Mapping[str, str] | None, items: Iterable[Item]) -> dict[str, Any]:
    return {} if modes is None else {"modes": dict(Counter(modes[item.id] for item in items).most_common())}


def _renamed_classes(findings: Findings) -> list[dict[str, str]]:
    """Classes whose folder could not keep its name, with the name that it came with."""
    renamed = findings.renamed_folders
    return [
        {"name": name, "original": ", ".join(renamed[part] for part in name.split("/") if part in renamed)}
        for name in findings.manifest.classes
        if any(part in renamed for part in name.split("/"))
    ]


def _spread(values: list[int]) -> dict[str, int]:
    return {"min": min(values), "median": median_low(values), "max": max(values)}


def _small_classes(manifest: DatasetManifest) -> list[dict[str, Any]]:
    """Classes without three different images, one for each split."""
    distinct: dict[str, set[str]] = defaultdict(set)
    for item in manifest.items:
        distinct[item.label].add(item.sha256)
    counts = manifest.class_counts
    return [
        {"name": name, "count": counts[name], "distinct": len(distinct[name])}
        for name in manifest.classes
        if len(distinct[name]) < len(SPLITS)
    ]


def _why_not_trained(manifest: DatasetManifest) -> str | None:
    """What a training with the usual split would say; None where it would begin."""
    try:
        split_dataset(manifest, SplitSettings(), 0)
    except SplitError as error:
        return error.detail
    return None


def _describe_conflict(group: list[Item]) -> dict[str, Any]:
    return {
        "sha256": group[0].sha256,
        "names": [item.name for item in group],
        "labels": sorted({item.label for item in group}),
    }


def _describe_copies(group: list[Item]) -> dict[str, Any]:
    """A group of ``duplicates`` as ``/datasets/{dataset}/items`` knows its images."""
    return {
        "images": [
            {"item": item.id, "name": item.name, "label": item.label} for item in group[:_SHOWN_COPIES]
        ],
        "number": len(group),
    }


def _with_reasons(left_out: Iterable[LeftOut]) -> list[dict[str, str]]:
    return _cut([{"name": file.name, "reason": file.reason} for file in sorted(left_out)])


def _cut(values: list[Any]) -> list[Any]:
    return values[:LISTED]


def _advise(report: dict[str, Any]) -> list[str]:
    """One sentence for each thing that somebody should act upon, the gravest first."""
    totals, classes = report["totals"], report["classes"]
    advice = []
    if conflicts := totals["conflicting_labels"]:
        advice.append(
            f"{count(conflicts, 'image lies', 'images lie')} in more than one class: "
            "decide on one label each (conflicting_labels)."
        )
    for table in report["labels_disagree"]:
        advice.append(
            f"The table {show(table['table'])} gives {count(table['rows'], 'image', 'images')} of "
            f"{table['of']:,} another class than the folder, such as {show(table['image'])}, which is "
            f"{show(table['label'])} in line {table['line']:,}. The folders were taken; to take the table, "
            f"import again with --labels {table['table']} (labels_disagree)."
        )
    if leaks := totals["across_splits"]:
        advice.append(
            f"{count(leaks, 'image is', 'images are')} in more than one split: training leaves the "
            "copies out of train and valid, so that the test stays honest (across_splits)."
        )
    groups = report["groups"]
    if groups and groups["total_across_splits"]:
        crossing, shared = groups["total_across_splits"], groups["test_images_shared"]
        advice.append(
            f"{count(crossing, 'group is', 'groups are')} in more than one split: a training leaves the "
            f"{count(shared, 'test image', 'test images')} of these out of its figures, and says how it "
            "answers them (groups)."
        )
    if groups and groups["images_without"]:
        advice.append(
            f"{count(groups['images_without'], 'image has', 'images have')} no group, such as "
            f"{show(groups['without'][0])}: they are divided one by one (groups)."
        )
    if (encoding := report["name_encoding"]) not in (None, "utf-8"):
        advice.append(
            f"The names were read as {encoding}, since {report['encoding_reason']}: look at the "
            "classes' names, and import again with another name_encoding if they are wrong."
        )
    if renamed := report["renamed_classes"]:
        changes = [f"{show(entry['name'])} was {entry['original']}" for entry in renamed[:10]]
        advice.append(
            f"Classes that could not keep their names: {', '.join(changes)}. Rename the folders and import "
            "again, or choose the name_encoding (renamed_classes)."
        )
    if similar := report["similar_classes"]:
        advice.append(
            f"Classes whose names are alike but for case, blanks or dots: {_alike(similar)}. They are "
            "different classes: if one is meant, give the folders one name (similar_classes)."
        )
    if refused := report["training_refused"]:
        advice.append(f"A training would be refused: {refused}. Evaluations are not concerned.")
    elif small := report["small_classes"]:
        advice.append(
            f"Too few different images to train, validate and test on: {_names(small)}. "
            "Each class needs at least 3; add some, or remove the class."
        )
    if empty := report["empty_classes"]:
        advice.append(f"No image in the folders {', '.join(empty[:10])}: fill them, or remove them.")
    if corrupt := totals["corrupt"]:
        advice.append(
            f"{count(corrupt, 'image', 'images')} could not be decoded and had to be left out: "
            "replace or remove (corrupt)."
        )
    if few := [entry for entry in classes if len(SPLITS) <= entry["count"] < _FEW_PICTURES]:
        advice.append(
            f"Fewer than {_FEW_PICTURES} images in {_names(few)}: results will be uncertain; add more."
        )
    counts = [entry["count"] for entry in classes]
    if counts and max(counts) > _IMBALANCE * min(counts):
        advice.append(
            f"The largest class has {max(counts)} images, the smallest {min(counts)}: look at the balanced "
            'accuracy, and consider class_weights "balanced".'
        )
    if _formats_tell_classes([set(entry["formats"]) for entry in classes]):
        advice.append(
            "No two classes share a file format: a network may learn its traces; store all classes alike."
        )
    if duplicates := totals["duplicates"]:
        advice.append(
            f"{count(duplicates, 'image is', 'images are')} there more than once: copies stay in one "
            "split and add nothing (duplicates)."
        )
    if wrong := totals["wrong_extensions"]:
        advice.append(
            f"{count(wrong, 'file has', 'files have')} another format than the extension says: "
            "the content was used (wrong_extensions)."
        )
    if tables := report["tables"]:
        advice.append(f"Images lie in no class folder{mention_tables(tuple(tables))} (tables, skipped).")
    if odd := totals["odd_names"]:
        advice.append(
            f"{count(odd, 'name is', 'names are')} odd: no image is lost, some have another name now "
            "(odd_names)."
        )
    if skipped := totals["skipped"]:
        advice.append(f"{count(skipped, 'file was', 'files were')} skipped (skipped).")
    return advice


def _formats_tell_classes(formats: list[set[str]]) -> bool:
    return len(formats) > 1 and sum(map(len, formats)) == len(set().union(*formats))


def _alike(groups: list[list[str]]) -> str:
    return ", ".join(" and ".join(map(show, group)) for group in groups[:10])


def _names(entries: list[dict[str, Any]]) -> str:
    return ", ".join(entry["name"] for entry in entries[:10])
