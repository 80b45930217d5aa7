"""The evaluation child: ``python -m app.evaluation [--wait] FOLDER``. ``--wait``: until the spec is there."""

import argparse
import sys
from pathlib import Path

from app.child import run_child
from app.evaluation.replay import evaluate_artifact
from app.evaluation.spec import EvaluationSpec


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m app.evaluation", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--wait", action="store_true", help="Wait until FOLDER has a spec.json.")
    given = parser.parse_args()
    return run_child(evaluate_artifact, EvaluationSpec, given.folder, waits=given.wait)


if __name__ == "__main__":
    sys.exit(main())
