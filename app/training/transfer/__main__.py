"""The child for models: ``python -m app.training.transfer FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from app.child import Reporter, StopSignal, run_child
from app.training.libraries import loading_tensorflow
from app.training.transfer.spec import ConversionResult, ConversionSpec


def main() -> int:
    return run_child(_work, ConversionSpec, Path(sys.argv[1]))


def _work(spec: ConversionSpec, folder: Path, reporter: Reporter, _stop: StopSignal) -> ConversionResult:
    with loading_tensorflow():
        from app.training.transfer.convert import convert_artifact

    return convert_artifact(spec, folder, reporter)


if __name__ == "__main__":
    sys.exit(main())
