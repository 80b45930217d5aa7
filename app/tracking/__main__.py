"""The child that sends a training to MLflow: ``python -m app.tracking FOLDER``."""

import sys
from pathlib import Path

from app.child import run_child
from app.tracking.send import send
from app.tracking.spec import RunSpec

if __name__ == "__main__":
    sys.exit(run_child(send, RunSpec, Path(sys.argv[1])))
