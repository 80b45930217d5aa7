"""The work of the child that analyses an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from app.child import Reporter, StopSignal, write_message
from app.errors import StorageDamagedError
from app.evaluation.analysis.curves import describe_reliability, draw_curves
from app.evaluation.analysis.files import CURVES, read_predictions, write_answers
from app.evaluation.analysis.spec import AnalysisResult, AnalysisSpec
from app.evaluation.files import PREDICTIONS, PROBABILITIES
from app.evaluation.metrics import decide
from app.images.memory_limit import limit_memory

_HINT = "Evaluate the model again: `loupe evaluate JOB`."


def analyse(spec: AnalysisSpec, folder: Path, _: Reporter, __: StopSignal) -> AnalysisResult:
    """Leaves curves.json and the tables of ``app.evaluation.analysis.files`` in ``folder``.

    Raises StorageDamagedError where the evaluation's files do not fit each other.
    """
    limit_memory(spec.memory_bytes)
    indices = {name: index for index, name in enumerate(spec.classes)}
    try:
        probabilities = np.load(spec.evaluation / PROBABILITIES, mmap_mode="r")
        pictured = list(read_predictions(spec.evaluation / PREDICTIONS, spec.classes))
        labels = np.array([indices[picture.label] for picture in pictured], np.int64)
        if probabilities.shape[0] != len(labels) or not 2 <= probabilities.shape[1] <= len(indices):
            raise ValueError(f"{len(labels)} rows beside probabilities of {probabilities.shape}")
    except (OSError, ValueError, KeyError) as error:
        raise StorageDamagedError(
            f"The evaluation's files cannot be read: {type(error).__name__}: {error}.", hint=_HINT
        ) from error
    with threadpool_limits(1):
        curves = draw_curves(labels, probabilities, spec.classes)
    if spec.calibration_before is not None:
        before = describe_reliability(spec.calibration_before)
        curves = curves.model_copy(update={"reliability_before": before})
    write_answers(folder, pictured, labels, decide(probabilities), probabilities)
    write_message(folder / CURVES, curves)
    return AnalysisResult(items=len(labels))
