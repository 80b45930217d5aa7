"""What an image's class is, judged from other images: by a linear classifier, and by the nearest neighbours.

The classifier is regularised least squares on one-hot labels, whose folds cost one solution each, since the
Gram matrix of a fold is that of all less that of what it holds out (Rifkin and Lippert 2007, "Notes on
Regularized Least Squares", MIT-CSAIL-TR-2007-025).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
FOLDS = 5
STRENGTHS = (0.03, 0.1, 0.3, 1.0)
"""Of the penalty, for features of unit variance and an average over images."""
NEIGHBOURS = 10
_SHARPNESS = (3.0, 5.0, 8.0, 12.0, 16.0, 24.0)
_NEAR = 0.05
"""Cosines: a neighbour that is further than the nearest by this much counts e times less."""
_BLOCK = 512


class LinearJudge:
    """``features``: float32 (n, dimensions), of unit variance. ``labels``: int (n,), below ``classes``.

    ``keys``: int (n,), what is nearly one image has one key and is held out together.
    """

    def __init__(self, features: Features, labels: Labels, keys: Labels, classes: int) -> None:
        self._features, self._labels, self._classes = features, labels, classes
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
        self._held_out = [held_out for _, held_out in folds.split(features, labels, keys)]
        self._strength: float | None = None

    def judge(self, trusted: NDArray[np.bool_], alive: Callable[[], None]) -> Features:
        """Probabilities, float32 (n, classes), each learned from the trusted labels of other folds.

        The first call chooses the strength, the one with the lowest log loss.
        """
        # Where others compute too, threads of BLAS wait for each other four times as long as one computes.
        with threadpool_limits(1):
            return self._judge(trusted, alive)

    def _judge(self, trusted: NDArray[np.bool_], alive: Callable[[], None]) -> Features:
        grams = []
        for held_out in self._held_out:
            known = self._features[held_out[trusted[held_out]]]
            grams.append(known.T @ known)
            alive()
        total = np.sum(grams, axis=0)
        found: list[tuple[float, float, Features]] = []
        for strength in STRENGTHS if self._strength is None else (self._strength,):
            scores = np.empty((len(self._labels), self._classes), np.float32)
            for held_out, gram in zip(self._held_out, grams, strict=True):
                scores[held_out] = self._score(held_out, total - gram, trusted, strength)
                alive()
            loss, probabilities = self._sharpen(scores, trusted)
            found.append((loss, strength, probabilities))
        _, self._strength, probabilities = min(found, key=lambda each: each[0])
        return probabilities

    def _score(
        self, held_out: Labels, gram: Features, trusted: NDArray[np.bool_], strength: float
    ) -> Features:
        is_learned = trusted.copy()
        is_learned[held_out] = False
        learned = np.flatnonzero(is_learned)
        wanted = np.eye(self._classes, dtype=np.float32)[self._labels[learned]]
        usual = wanted.mean(axis=0)
        penalty = strength * len(learned) * np.eye(len(gram), dtype=np.float32)
        kernel = np.linalg.solve(gram + penalty, self._features[learned].T @ (wanted - usual))
        scores: Features = self._features[held_out] @ kernel + usual
        return scores

    def _sharpen(self, scores: Features, trusted: NDArray[np.bool_]) -> tuple[float, Features]:
        """Probabilities of scores, by the softmax whose sharpness gives the lowest log loss, and it."""
        best: tuple[float, Features] | None = None
        rows = np.flatnonzero(trusted)
        for sharpness in _SHARPNESS:
            exponents = np.exp(sharpness * (scores - scores.max(axis=1, keepdims=True)))
            probabilities = exponents / exponents.sum(axis=1, keepdims=True)
            right = probabilities[rows, self._labels[rows]]
            loss = -float(np.log(np.maximum(right, 1e-12)).mean())
            if best is None or loss < best[0]:
                best = loss, probabilities
        assert best is not None
        return best


class NeighbourJudge:
    """By the nearest in ``vectors``, float16 or float32 (n, dimensions), whose mean is taken off."""

    def __init__(self, vectors: NDArray[np.float16] | Features, labels: Labels, keys: Labels) -> None:
        self._labels, self._keys = labels, keys
        centred = np.asarray(vectors, np.float32) - np.asarray(vectors.mean(axis=0, dtype=np.float32))
        lengths = np.linalg.norm(centred, axis=1, keepdims=True).astype(np.float32)
        self._units: Features = centred / np.maximum(lengths, np.float32(1e-9))

    def judge(self, rows: Labels, trusted: NDArray[np.bool_], alive: Callable[[], None]) -> Labels:
        """The class of each of ``rows``, int (rows,), by the trusted labels of images with other keys."""
        answers = np.empty(len(rows), np.int64)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            alike = self._units[block] @ self._units.T
            alike[self._keys[block, np.newaxis] == self._keys] = -2
            alike[:, ~trusted] = -2
            most = min(NEIGHBOURS, alike.shape[1])
            nearest = np.argpartition(-alike, most - 1, axis=1)[:, :most]
            cosines = np.take_along_axis(alike, nearest, axis=1)
            weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / _NEAR)
            labels = self._labels[nearest]
            votes = np.stack([(weights * (labels == each)).sum(axis=1) for each in np.unique(labels)], axis=1)
            answers[start : start + len(block)] = np.unique(labels)[votes.argmax(axis=1)]
            alive()
        return answers
