"""The audit of a dataset's labels, told in its own words: items and class names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.datasets.findings import Findings, OutlierImage, SuspectLabel
from app.datasets.manifest import DatasetManifest
from app.features.label_audit import audit_labels


def find_in(manifest: DatasetManifest, vectors: NDArray[np.float16], alive: Callable[[], None]) -> Findings:
    """Audits the labels of a dataset by its feature vectors, float16 (items, dimensions)."""
    index = {name: number for number, name in enumerate(manifest.classes)}
    labels = np.array([index[item.label] for item in manifest.items])
    audit = audit_labels(vectors, labels, [item.group or item.sha256 for item in manifest.items], alive=alive)
    return Findings(
        judged=audit.judged,
        suspects=tuple(
            SuspectLabel(
                item=(item := manifest.items[suspect.index]).id,
                name=item.name,
                label=item.label,
                label_probability=round(suspect.own, 4),
                suggested=manifest.classes[suspect.meant],
                suggested_probability=round(suspect.probability, 4),
            )
            for suspect in audit.suspects
        ),
        outliers=tuple(
            OutlierImage(
                item=(item := manifest.items[outlier.index]).id,
                name=item.name,
                label=item.label,
                similarity=round(outlier.similarity, 4),
            )
            for outlier in audit.outliers
        ),
    )
