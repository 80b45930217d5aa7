"""Fitting the temperature of a network's probabilities on images that it was not trained on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

FOLDS, STANDARD_ERRORS = 5, 2
COLDEST, HOTTEST = 0.1, 10.0
_TINY = np.finfo(np.float32).tiny

Probabilities = NDArray[np.float32]
Labels = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Temperature:
    """``value`` 1 leaves the probabilities as they are.

    ``before`` and ``after``: the mean log loss without it, and with it on images that it was not fitted on,
    in nats.
    """

    value: float
    before: float
    after: float
    items: int


def fit_temperature(probabilities: Probabilities, labels: Labels, wholes: Sequence[str]) -> Temperature:
    """The temperature of least log loss; 1 unless one that is fitted on other images lowers it beyond chance.

    That is by two standard errors, in cross-fitting: ``make bench-truth`` shows what less than that would do
    to networks that are honest already.

    ``probabilities``: float32 (n, classes); ``labels``: int (n,), their classes; ``wholes``: a key of each
    image, the same for images that show the same thing and so are never on both sides. Raises ValueError
    without images.
    """
    if len(labels) == 0:
        raise ValueError("there are no images to calibrate on")
    logits = np.log(np.maximum(probabilities.astype(np.float64), _TINY))
    folds = assign_folds(wholes, FOLDS)
    before = after = _log_losses(logits, labels, 1.0)
    if len(np.unique(folds)) > 1:
        after = before.copy()
        for fold in np.unique(folds):
            held_out = folds == fold
            fitted = _fit(logits[~held_out], labels[~held_out])
            after[held_out] = _log_losses(logits[held_out], labels[held_out], fitted)
    gains = before - after
    helps = gains.mean() > STANDARD_ERRORS * gains.std() / np.sqrt(len(gains))
    return Temperature(
        value=_fit(logits, labels) if helps else 1.0,
        before=float(before.mean()),
        after=float((after if helps else before).mean()),
        items=len(labels),
    )


def assign_folds(wholes: Sequence[str], folds: int) -> NDArray[np.int64]:
    """A fold, 0 to ``folds`` - 1, for each image: the same for the images of one whole, and ever again."""
    order = {
        whole: place for place, whole in enumerate(sorted(set(wholes), key=lambda w: zlib.crc32(w.encode())))
    }
    return np.array([order[whole] % folds for whole in wholes], np.int64)


def _fit(logits: Floats, labels: Labels) -> float:
    found = minimize_scalar(
        lambda log_temperature: _smoothed_loss(logits, labels, float(np.exp(log_temperature))),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
    )
    return float(np.exp(found.x))


def _smoothed_loss(logits: Floats, labels: Labels, temperature: float) -> float:
    """The log loss where each label is right but for 1 in n + 2 images.

    Platt, Probabilistic outputs for support vector machines, 1999: without it, images that are all answered
    rightly would ask for certainty.
    """
    scaled = logits / temperature
    losses = logsumexp(scaled, axis=1)[:, None] - scaled
    doubt = 1 / (len(labels) + 2)
    own = losses[np.arange(len(labels)), labels]
    others = (losses.sum(axis=1) - own) / max(logits.shape[1] - 1, 1)
    return float(((1 - doubt) * own + doubt * others).mean())


def _log_losses(logits: Floats, labels: Labels, temperature: float) -> Floats:
    scaled = logits / temperature
    losses: Floats = logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]
    return losses
