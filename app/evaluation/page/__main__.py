"""The child that makes the page of an evaluation: ``python -m app.evaluation.page FOLDER``."""

import sys
from pathlib import Path

from app.child import run_child
from app.evaluation.page.spec import PageSpec
from app.evaluation.page.work import make_page

if __name__ == "__main__":
    sys.exit(run_child(make_page, PageSpec, Path(sys.argv[1])))
