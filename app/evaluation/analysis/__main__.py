"""The child that analyses an evaluation: ``python -m app.evaluation.analysis FOLDER``."""

import sys
from pathlib import Path

from app.child import run_child
from app.evaluation.analysis.spec import AnalysisSpec
from app.evaluation.analysis.work import analyse

if __name__ == "__main__":
    sys.exit(run_child(analyse, AnalysisSpec, Path(sys.argv[1])))
