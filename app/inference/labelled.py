"""An answer in the words of the API: labels with probabilities, and whether it is accepted."""

from __future__ import annotations

import numpy as np

from app.inference.predictor import Outcome, Predictor
from app.inference.temperature import remove_temperature
from app.schemas.prediction import Judgement, PredictedLabel, Scores


def rank_labels(predictor: Predictor, outcome: Outcome, top_k: int) -> list[PredictedLabel]:
    """The ``top_k`` most probable labels; of equal ones the lower index first."""
    probabilities, calibration = outcome.probabilities, predictor.artifact.manifest.calibration
    raw = probabilities if calibration is None else remove_temperature(probabilities, calibration.temperature)
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return [
        PredictedLabel(
            label=predictor.labels[index],
            index=int(index),
            probability=float(probabilities[index]),
            raw_probability=float(raw[index]),
        )
        for index in order
    ]


def judge_answer(predictor: Predictor, outcome: Outcome, max_error: float) -> Judgement:
    """Empty for a model without thresholds. ``max_error``: what its product promises."""
    verdict = predictor.judge(outcome, max_error)
    if verdict is None:
        return Judgement()
    return Judgement(
        decision="accept" if verdict.is_accepted else "reject",
        reject_reason=verdict.reject_reason,
        scores=Scores(confidence=verdict.confidence, margin=verdict.margin, similarity=verdict.similarity),
    )
