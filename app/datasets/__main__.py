"""The child process for datasets: ``python -m app.datasets FOLDER`` imports or exports as the spec says."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.child import Released, Reporter, StopSignal, run_child
from app.datasets.depth import Depth
from app.datasets.differences import compare, count_changes
from app.datasets.examination.examiner import Examiner, Known
from app.datasets.examination.vectors import known_vectors
from app.datasets.export import RecordFormat, export_folders, export_records
from app.datasets.importer import import_dataset
from app.datasets.manifest import DatasetManifest, load_manifest, require_image
from app.datasets.near_groups import load_dataset
from app.datasets.publishing import publish_dataset, summarise
from app.datasets.report import Findings, create_report
from app.datasets.revision import revise
from app.datasets.roots import held
from app.datasets.spec import (
    DatasetWork,
    ExaminationResult,
    ExaminationSpec,
    ExportResult,
    ExportSpec,
    ImportResult,
    ImportSpec,
    RevisionSpec,
)
from app.datasets.split import SplitMap, split_dataset
from app.host.files import make_folder
from app.schemas.dataset_edits import DatasetEdits
from app.schemas.message import parse_message
from app.schemas.progress_lines import ProgressLine

_SECONDS_BETWEEN_LINES = 0.2
_PREPARING = 0.5
"""About the share of an import with an examination that comes before it."""


class _ProgressLines:
    """Emits at most five progress lines a second; stops the work when the parent asks for it.

    ``total`` is null until an import has read all of its upload; ``fraction`` never is. ``share``: of the
    whole work, what comes before the images are examined.
    """

    def __init__(self, reporter: Reporter, stop: StopSignal) -> None:
        self._reporter, self._stop, self._next = reporter, stop, 0.0
        self._is_examining = False
        self.share = 1.0

    def counted(self, done: int, total: int) -> None:
        self._emit(done, total, done / max(1, total) * self.share)

    def estimated(self, done: int, fraction: float) -> None:
        self._emit(done, done if fraction >= 1 else None, fraction * self.share)

    def examined(self, done: int, total: int) -> None:
        if not self._is_examining:
            self._is_examining, self._next = True, 0.0
            self._reporter.stage("examining")
        before = self.share if self.share < 1 else 0.0
        self._emit(done, total, before + (1 - before) * done / max(1, total))

    def alive(self) -> None:
        self._leave_if_asked()
        self._reporter.alive()

    def _leave_if_asked(self) -> None:
        if self._stop.release:
            raise Released

    def _emit(self, done: int, total: int | None, fraction: float) -> None:
        self._leave_if_asked()
        if time.monotonic() >= self._next or fraction >= self.share:
            self._reporter.emit(ProgressLine(done=done, total=total, fraction=min(1.0, round(fraction, 4))))
            self._next = time.monotonic() + _SECONDS_BETWEEN_LINES


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    return run_child(_work, DatasetWork, Path(sys.argv[1]))


def _work(
    work: DatasetWork, folder: Path, reporter: Reporter, stop: StopSignal
) -> ImportResult | ExaminationResult | ExportResult:
    progress = _ProgressLines(reporter, stop)
    if isinstance(work.root, ImportSpec):
        return _import(work.root, folder, reporter, progress)
    if isinstance(work.root, RevisionSpec):
        return _revise(work.root, folder, reporter, progress)
    if isinstance(work.root, ExaminationSpec):
        return _examine(work.root, folder, progress)
    return _export(work.root, folder, reporter, progress)


def _import(spec: ImportSpec, folder: Path, reporter: Reporter, progress: _ProgressLines) -> ImportResult:
    reporter.stage("preparing")
    examiner = _examiner(spec, folder, progress)
    if examiner is not None:
        progress.share = _PREPARING
    with nullcontext(spec.source) if spec.is_upload else held(spec.source, spec.roots) as source:
        return import_dataset(
            source,
            spec.image_root,
            spec.out,
            folder / "unpacked",
            spec.limits,
            progress.estimated,
            spec.choices,
            None if examiner is None else examiner.examine,
        )


def _revise(spec: RevisionSpec, folder: Path, reporter: Reporter, progress: _ProgressLines) -> ImportResult:
    reporter.stage("preparing")
    manifests = [load_manifest(source) for source in spec.sources]
    revised = revise(manifests, parse_message(DatasetEdits, spec.edits.read_bytes(), spec.edits.name))
    examiner = _examiner(
        spec, folder, progress, lambda extractor: known_vectors(spec.sources, manifests, extractor)
    )
    if examiner is not None:
        progress.share = _PREPARING
    for done, item in enumerate(revised.items, start=1):
        require_image(spec.image_root, item)
        progress.counted(done, len(revised.items))

    def describe(manifest: DatasetManifest) -> dict[str, Any]:
        depth = Depth(revised.pixel_range, (), is_chosen=True)
        report = create_report(Findings(manifest, modes=None, depth=depth))
        return report | {"changes": count_changes(compare(manifests[0], revised))}

    examine = None if examiner is None else examiner.examine
    report, examination = publish_dataset(spec.out, revised, describe, examine)
    return summarise(revised, report, skipped=0, examination=examination)


def _examine(spec: ExaminationSpec, folder: Path, progress: _ProgressLines) -> ExaminationResult:
    manifest = load_manifest(spec.dataset)
    examiner = _examiner(
        spec, folder, progress, lambda extractor: known_vectors([spec.dataset], [manifest], extractor)
    )
    assert examiner is not None
    make_folder(spec.out)
    examined = replace(examiner, before=spec.dataset).examine(manifest, spec.out)
    return ExaminationResult(examination=examined.examination, missing=examined.missing)


def _examiner(
    spec: ImportSpec | RevisionSpec | ExaminationSpec,
    folder: Path,
    progress: _ProgressLines,
    known: Known = lambda _: {},
) -> Examiner | None:
    if spec.tools is None:
        return None
    scratch = folder / "extractor"
    return Examiner(spec.tools, spec.image_root, scratch, progress.examined, progress.alive, known)


def _export(spec: ExportSpec, folder: Path, reporter: Reporter, progress: _ProgressLines) -> ExportResult:
    reporter.stage("exporting")
    manifest = load_dataset(spec.dataset)
    split = _read_or_draw(spec, manifest)
    if spec.image_size is None:
        return export_folders(manifest, split, spec.image_root, spec.out, progress.counted)
    records = RecordFormat(spec.image_size, spec.compression)
    return export_records(
        manifest, split, spec.image_root, spec.out, folder / "records", records, progress.counted
    )


def _read_or_draw(spec: ExportSpec, manifest: DatasetManifest) -> SplitMap | None:
    if spec.draw is not None:
        return split_dataset(manifest, spec.draw, seed=0)
    return json.loads(spec.split.read_text(encoding="utf-8")) if spec.split else None


if __name__ == "__main__":
    sys.exit(main())
