"""The child process for datasets: ``python -m app.datasets FOLDER`` imports or exports as the spec says."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from app.child import Released, Reporter, StopSignal, run_child
from app.datasets.export import RecordFormat, export_folders, export_records
from app.datasets.importer import import_dataset
from app.datasets.manifest import load_manifest
from app.datasets.sources import Limits

_SECONDS_BETWEEN_LINES = 0.2


class _ProgressLines:
    """Emits at most five progress lines a second; stops the work when the parent asks for it.

    ``total`` is null until an import has read all of its upload; ``fraction`` never is.
    """

    def __init__(self, reporter: Reporter, stop: StopSignal) -> None:
        self._reporter, self._stop, self._next = reporter, stop, 0.0

    def counted(self, done: int, total: int) -> None:
        self._emit(done, total, done / max(1, total))

    def estimated(self, done: int, fraction: float) -> None:
        self._emit(done, done if fraction >= 1 else None, fraction)

    def _emit(self, done: int, total: int | None, fraction: float) -> None:
        if self._stop.release:
            raise Released
        if time.monotonic() >= self._next or fraction >= 1:
            self._reporter.emit("progress", done=done, total=total, fraction=round(fraction, 4))
            self._next = time.monotonic() + _SECONDS_BETWEEN_LINES


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    return run_child(_work, Path(sys.argv[1]))


def _work(spec: dict[str, Any], folder: Path, reporter: Reporter, stop: StopSignal) -> dict[str, Any]:
    progress = _ProgressLines(reporter, stop)
    if spec["kind"] == "import":
        reporter.stage("preparing")
        return import_dataset(
            Path(spec["source"]),
            Path(spec["image_root"]),
            Path(spec["out"]),
            folder / "unpacked",
            Limits(**spec.get("limits", {})),
            progress.estimated,
        )
    reporter.stage("exporting")
    manifest = load_manifest(Path(spec["dataset"]))
    split = json.loads(Path(spec["split"]).read_text(encoding="utf-8")) if spec.get("split") else None
    image_root, out = Path(spec["image_root"]), Path(spec["out"])
    if spec["format"] == "folders":
        return export_folders(manifest, split, image_root, out, progress.counted)
    height, width = spec["image_size"]
    records = RecordFormat((height, width), spec.get("compression"))
    return export_records(manifest, split, image_root, out, folder / "records", records, progress.counted)


if __name__ == "__main__":
    sys.exit(main())
