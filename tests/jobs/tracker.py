"""A child in place of ``app.tracking``: it does what the address says, and needs no MLflow."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from app.child import Reporter, StopSignal, run_child
from app.tracking.spec import RunSpec, SentRun


def answer(spec: RunSpec, _folder: Path, _reporter: Reporter, _stop: StopSignal) -> SentRun:
    if "away" in spec.tracking_uri:
        raise ConnectionError("nobody answers")
    if "hangs" in spec.tracking_uri:
        time.sleep(600)
    return SentRun(experiment_id="1", run_id=f"run of {spec.name}")


if __name__ == "__main__":
    sys.exit(run_child(answer, RunSpec, Path(sys.argv[1])))
