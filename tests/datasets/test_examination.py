from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from app.datasets.examination.vectors import compute_vectors
from app.datasets.importer import import_dataset
from app.datasets.manifest import load_manifest
from app.datasets.sources import Limits
from app.features.extractor import Extractor
from tests.extractors import make_extractor
from tests.pictures import make_files


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_it_uses_the_cores_that_it_may_use_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in make_files(4).items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    images, out = tmp_path / "images", tmp_path / "out"
    import_dataset(tmp_path / "source", images, out, tmp_path / "scratch", Limits(), lambda *_: None)
    extractor, threads = Extractor(make_extractor()), set[int]()

    def embed(_pixels: np.ndarray) -> np.ndarray:
        threads.add(threading.get_ident())
        return np.zeros(extractor.note.dimensions, np.float32)

    monkeypatch.setattr(extractor, "embed", embed)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        compute_vectors(
            load_manifest(out), images, out, extractor, lambda *_: None, partial=tmp_path / "partial"
        )
    finally:
        os.sched_setaffinity(0, cores)
    assert len(threads) == 1
