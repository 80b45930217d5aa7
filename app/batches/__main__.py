"""The child of a prediction over many images: ``python -m app.batches FOLDER``."""

import sys
from pathlib import Path

from app.batches.answering import predict_all
from app.batches.spec import BatchSpec
from app.child import run_child

if __name__ == "__main__":
    sys.exit(run_child(predict_all, BatchSpec, Path(sys.argv[1])))
