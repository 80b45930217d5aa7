"""What an examination found, with the names of the images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from app.datasets.examination.report import ExaminationReport, NearPair
from app.datasets.manifest import DatasetManifest, Item
from app.schemas import examination as schemas

LISTED = 1000
"""Longer lists of groups and pairs are cut; their totals are exact."""


def describe_examination(
    dataset_id: str, network: str | None, manifest: DatasetManifest, report: ExaminationReport
) -> schemas.ExaminationReport:
    items = {item.id: item for item in manifest.items}
    near = report.near_duplicates
    groups = defaultdict(list)
    for item in manifest.items:
        if item.near_group is not None:
            groups[item.near_group].append(item)
    pairs = sorted(near.pairs, key=lambda pair: pair.score)
    return schemas.ExaminationReport(
        dataset=dataset_id,
        network=network,
        missing=report.missing,
        diagnoses=[
            schemas.Diagnosis(
                **each.model_dump(exclude={"items"}), images=[_describe(items[item]) for item in each.items]
            )
            for each in report.diagnoses
        ],
        honesty=None if report.honesty is None else schemas.Honesty(**report.honesty.model_dump()),
        near_duplicates=schemas.NearDuplicates(
            groups=_describe_groups(groups.values()),
            pairs=[_describe_pair(items, pair) for pair in pairs[:LISTED]],
            doubtful=[_describe_pair(items, pair) for pair in near.doubtful[:LISTED]],
            same_background=_describe_groups(
                [items[each] for each in group] for group in near.same_background
            ),
            left_out=near.left_out,
            total_groups=len(groups),
            total_pairs=len(near.pairs),
        ),
        judged=report.judged,
        suspects=[
            schemas.SuspectLabel(name=items[each.item].name, **each.model_dump()) for each in report.suspects
        ],
        outliers=[
            schemas.OutlierImage(
                name=items[each.item].name, label=items[each.item].label, **each.model_dump()
            )
            for each in report.outliers
        ],
    )


def _describe_groups(groups: Iterable[Sequence[Item]]) -> list[schemas.NearGroup]:
    described = [
        schemas.NearGroup(images=[_describe(item) for item in group], labels=sorted({i.label for i in group}))
        for group in groups
    ]
    return sorted(described, key=lambda group: (-len(group.labels), -len(group.images)))[:LISTED]


def _describe_pair(items: dict[str, Item], pair: NearPair) -> schemas.NearPair:
    return schemas.NearPair(
        first=_describe(items[pair.first]),
        second=_describe(items[pair.second]),
        reason=pair.reason,
        score=pair.score,
    )


def _describe(item: Item) -> schemas.ExaminedImage:
    return schemas.ExaminedImage(item=item.id, name=item.name, label=item.label, split=item.split)
