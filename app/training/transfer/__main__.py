"""The child for models: ``python -m app.training.transfer FOLDER``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from app.child import Reporter, StopSignal, run_child
from app.training.libraries import loading_tensorflow
from app.training.transfer.spec import (
    ConversionResult,
    ConversionSpec,
    ModelImportResult,
    ModelImportSpec,
    TransferWork,
)
from app.training.transfer.unpack import unpack_archive


def main() -> int:
    return run_child(_work, TransferWork, Path(sys.argv[1]))


def _work(
    work: TransferWork, folder: Path, reporter: Reporter, _stop: StopSignal
) -> ConversionResult | ModelImportResult:
    reporter.stage("preparing")
    if isinstance(work.root, ConversionSpec):
        with loading_tensorflow():
            from app.training.transfer.convert import convert_artifact

        return convert_artifact(work.root, folder, reporter)
    return _receive(work.root, folder, reporter)


def _receive(spec: ModelImportSpec, folder: Path, reporter: Reporter) -> ModelImportResult:
    unpacked = folder / "unpacked"
    try:
        received = unpack_archive(spec.source, unpacked)  # What is refused need not wait for TensorFlow.
        with loading_tensorflow():
            from app.training.transfer.receive import receive_model

        return receive_model(received, spec.out, folder, reporter)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
