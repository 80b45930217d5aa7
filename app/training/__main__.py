"""Runs one training by itself.

FOLDER holds spec.json (its fields: app/training/spec.py, TrainingSpec), with every setting unless --resolve
is given. Into it go progress.jsonl, a JSON object a line; result.json when the training succeeds, error.json
when it fails; and verification/, the replay of the test split through the packaged model. SIGTERM
checkpoints and leaves with exit status 75, to be continued by a run whose spec names the checkpoint in
resume_from. SIGUSR1 ends early and keeps the best epoch. The run also ends when standard input, unless it is
a terminal, is closed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from app.child import Reporter, StopSignal, run_child
from app.training.libraries import loading_tensorflow
from app.training.result import TrainingResult
from app.training.spec import TrainingSpec, parse_spec


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m app.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument(
        "--resolve", action="store_true", help="Give each setting that spec.json leaves out its default."
    )
    given = parser.parse_args()
    if given.resolve:
        return run_child(_work_on_handwritten, dict[str, Any], given.folder)
    return run_child(_work, TrainingSpec, given.folder)


def _work_on_handwritten(
    spec: dict[str, Any], folder: Path, reporter: Reporter, stop: StopSignal
) -> TrainingResult:
    from app.training.handwritten import resolve_spec

    return _work(parse_spec(resolve_spec(spec)), folder, reporter, stop)


def _work(spec: TrainingSpec, folder: Path, reporter: Reporter, stop: StopSignal) -> TrainingResult:
    with loading_tensorflow():
        from app.training.pipeline import run_training

    if spec.hyperparameters.method == "linear":
        # Outside the block: this one uses scikit-learn.
        from app.training.linear import run_linear

        return run_linear(spec, folder, reporter, stop)
    return run_training(spec, folder, reporter, stop)


if __name__ == "__main__":
    sys.exit(main())
