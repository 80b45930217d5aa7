"""A new dataset's folder, and what the parent process is told of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.datasets.examination.examiner import Examined
from app.datasets.manifest import REPORT, DatasetManifest, write_manifest
from app.datasets.report import split_counts
from app.datasets.spec import ClassCount, Examination, ImportResult
from app.host.files import folder_aside, make_folder, write_json

_ADVICE_IN_RESULT = 20


Examine = Callable[[DatasetManifest, Path], Examined]
"""Looks at the images of a dataset and leaves what it found in its folder."""


def publish_dataset(
    out: Path,
    manifest: DatasetManifest,
    describe: Callable[[DatasetManifest], dict[str, Any]],
    examine: Examine | None = None,
) -> tuple[dict[str, Any], Examination | None]:
    """Makes the folder ``out`` appear with manifest, report and what the examination leaves, or nothing.

    ``describe`` makes the report, of the manifest with what the examination knows. Returns both.
    """
    make_folder(out.parent)
    with folder_aside(out) as aside:
        examined = None if examine is None else examine(manifest, aside)
        report = describe(manifest if examined is None else examined.manifest)
        if examined is not None:
            report["examination"] = examined.examination.model_dump(mode="json")
            if examined.missing is not None:
                report["not_examined"] = examined.missing
        write_manifest(aside, manifest)
        write_json(aside / REPORT, report)
        if out.exists():
            # An attempt that was killed after this point left the same dataset.
            shutil.rmtree(out)
    return report, None if examined is None else examined.examination


def summarise(
    manifest: DatasetManifest,
    report: dict[str, Any],
    *,
    skipped: int,
    examination: Examination | None = None,
) -> ImportResult:
    """``skipped``: how many files were left out."""
    return ImportResult(
        digest=manifest.digest,
        classes=tuple(ClassCount(name=name, count=count) for name, count in manifest.class_counts.items()),
        items=len(manifest.items),
        counts=split_counts(manifest.items),
        skipped=skipped,
        warnings=tuple(report["advice"][:_ADVICE_IN_RESULT]),
        examination=examination,
    )
