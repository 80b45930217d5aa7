"""The extractor of features, made once for a process of tests: TensorFlow takes some seconds."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from app.features.making import require_extractor


@cache
def make_extractor() -> Path:
    """The folder of a real one, from the weights that the development packages hold."""
    root = Path(tempfile.mkdtemp(prefix="extractor-"))
    require_extractor(root / "extractor", root / "weights", root / "scratch", lambda: None)
    return root / "extractor"


def give_extractor(home: Path) -> Path:
    """Puts it where a home folder keeps it."""
    target = home / "extractor"
    if not target.exists():
        shutil.copytree(make_extractor(), target)
    return target
