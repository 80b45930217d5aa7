"""The audit of a dataset's labels, told in its own words: items and class names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.datasets.examination.indexed import Indexed
from app.datasets.examination.report import OutlierImage, SuspectLabel
from app.datasets.manifest import DatasetManifest
from app.features.label_audit import LabelAudit, audit_labels
from app.features.outliers import find_outliers


@dataclass(frozen=True)
class LabelFindings:
    """``audit``: what these are told of, in rows."""

    audit: LabelAudit
    judged: int
    suspects: tuple[SuspectLabel, ...]
    outliers: tuple[OutlierImage, ...]


def audit_dataset(
    manifest: DatasetManifest,
    known: Indexed,
    vectors: NDArray[np.float16],
    thumbnails: NDArray[np.uint8],
    alive: Callable[[], None],
) -> LabelFindings:
    """``vectors``: float16 (items, dimensions). ``thumbnails``: uint8 (items, height, width).

    Images that must stay together do not vouch for each other.
    """
    audit = audit_labels(vectors, known.labels, known.keys, thumbnails, alive=alive)
    return LabelFindings(
        audit=audit,
        judged=len(audit.judged),
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
            for each in find_outliers(vectors, known.labels, known.keys, alive)
        ),
    )
