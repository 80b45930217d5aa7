"""A new dataset's folder, and what the parent process is told of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from app.datasets.manifest import REPORT, DatasetManifest, write_manifest
from app.datasets.report import split_counts
from app.datasets.spec import ClassCount, ImportResult
from app.host.files import folder_aside, make_folder, write_json

_ADVICE_IN_RESULT = 20


def publish_dataset(out: Path, manifest: DatasetManifest, report: dict[str, Any]) -> None:
    """Makes the folder ``out`` appear with manifest and report, both or neither."""
    make_folder(out.parent)
    with folder_aside(out) as aside:
        write_manifest(aside, manifest)
        write_json(aside / REPORT, report)
        if out.exists():
            # An attempt that was killed after this point left the same dataset.
            shutil.rmtree(out)


def summarise(manifest: DatasetManifest, report: dict[str, Any], *, skipped: int) -> ImportResult:
    """``skipped``: how many files were left out."""
    return ImportResult(
        digest=manifest.digest,
        classes=tuple(ClassCount(name=name, count=count) for name, count in manifest.class_counts.items()),
        items=len(manifest.items),
        counts=split_counts(manifest.items),
        skipped=skipped,
        warnings=tuple(report["advice"][:_ADVICE_IN_RESULT]),
    )
