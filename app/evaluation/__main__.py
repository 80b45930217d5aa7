"""The evaluation child: ``python -m app.evaluation FOLDER``."""

import sys
from pathlib import Path

from app.child import run_child
from app.evaluation.replay import evaluate_artifact
from app.evaluation.spec import EvaluationSpec

if __name__ == "__main__":
    sys.exit(run_child(evaluate_artifact, EvaluationSpec, Path(sys.argv[1])))
