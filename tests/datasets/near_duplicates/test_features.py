import numpy as np
import pytest

from app.datasets.near_duplicates import features as features_of
from app.datasets.near_duplicates.features import nearest_by_features


def test_neighbours_by_features_are_found_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_of, "_BLOCK", 16)
    chance = np.random.default_rng(0)
    features = chance.normal(size=(50, 40)).astype(np.float16)
    features[41] = features[5] + chance.normal(0, 0.05, 40)

    found = nearest_by_features(features, 1, lambda _: None)

    nearest = dict(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert (nearest[41], nearest[5]) == (5, 41)
    assert len(nearest) == 50
