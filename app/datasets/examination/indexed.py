"""Classes and what must stay together, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.datasets.manifest import DatasetManifest
from app.datasets.wholes import find_wholes


@dataclass(frozen=True)
class Indexed:
    """``labels``: int (items,), of the manifest's classes; ``keys``: int (items,), one for what must stay
    together.
    """

    labels: NDArray[np.int64]
    keys: NDArray[np.int64]


def index_dataset(manifest: DatasetManifest) -> Indexed:
    index = {name: number for number, name in enumerate(manifest.classes)}
    return Indexed(
        np.array([index[item.label] for item in manifest.items], np.int64),
        np.unique(find_wholes(manifest.items), return_inverse=True)[1],
    )
