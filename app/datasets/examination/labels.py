"""The audit of a dataset's labels, told in its own words: items and class names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.datasets.examination.report import OutlierImage, SuspectLabel
from app.datasets.manifest import DatasetManifest
from app.datasets.wholes import find_wholes
from app.features.label_audit import audit_labels
from app.features.outliers import find_outliers


@dataclass(frozen=True)
class LabelFindings:
    judged: int
    suspects: tuple[SuspectLabel, ...]
    outliers: tuple[OutlierImage, ...]


def audit_dataset(
    manifest: DatasetManifest,
    vectors: NDArray[np.float16],
    thumbnails: NDArray[np.uint8],
    alive: Callable[[], None],
) -> LabelFindings:
    """``vectors``: float16 (items, dimensions). ``thumbnails``: uint8 (items, height, width).

    Images that must stay together do not vouch for each other.
    """
    index = {name: number for number, name in enumerate(manifest.classes)}
    labels = np.array([index[item.label] for item in manifest.items])
    keys = np.unique(find_wholes(manifest.items), return_inverse=True)[1]
    audit = audit_labels(vectors, labels, keys, thumbnails, alive=alive)
    return LabelFindings(
        judged=audit.judged,
        suspects=tuple(
            SuspectLabel(
                item=(item := manifest.items[suspect.index]).id,
                label=item.label,
                label_probability=round(suspect.own, 4),
                suggested=manifest.classes[suspect.meant],
                suggested_probability=round(suspect.probability, 4),
            )
            for suspect in audit.suspects
        ),
        outliers=tuple(
            OutlierImage(item=manifest.items[each.index].id, similarity=round(each.similarity, 4))
            for each in find_outliers(vectors, labels, keys, alive)
        ),
    )
