"""The work of the child that forecasts: this machine's speed, and a learning curve."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from app.child import Reporter, StopSignal
from app.datasets.class_map import apply_class_map
from app.datasets.examination.vectors import load_features
from app.datasets.near_groups import load_dataset
from app.datasets.wholes import find_wholes
from app.errors import FeaturesUnavailableError
from app.features.extractor import Extractor
from app.forecasts.curve import TooFewImagesError, draw_curve
from app.forecasts.spec import Curve, ForecastResult, ForecastSpec
from app.images.memory_limit import limit_memory

_CALLS = 5


def forecast(spec: ForecastSpec, _folder: Path, _reporter: Reporter, _stop: StopSignal) -> ForecastResult:
    """What can be known is in the answer; what is not there or damaged is no error."""
    limit_memory(spec.memory_bytes)
    embed_seconds = None if spec.extractor is None else _time_extractor(spec.extractor)
    if spec.dataset is None:
        return ForecastResult(embed_seconds=embed_seconds)
    try:
        return ForecastResult(embed_seconds=embed_seconds, curve=_draw(spec, spec.dataset))
    except FeaturesUnavailableError as error:
        return ForecastResult(embed_seconds=embed_seconds, problem=error.detail)


def _time_extractor(folder: Path) -> float | None:
    """The fastest of several calls on one thread, which other work on this machine hardly lengthens."""
    try:
        extractor = Extractor(folder)
    except FeaturesUnavailableError:
        return None
    pixels = np.zeros((*extractor.fit.size, 3), np.uint8)
    fastest = float("inf")
    for _ in range(_CALLS):
        start = time.thread_time()
        extractor.embed(pixels)
        fastest = min(fastest, time.thread_time() - start)
    return fastest


def _draw(spec: ForecastSpec, folder: Path) -> Curve:
    whole = load_dataset(folder)
    rows = {item.id: row for row, item in enumerate(whole.items)}
    vectors = load_features(folder, whole)
    manifest = apply_class_map(whole, spec.class_map)
    items = [manifest.items[position] for position in spec.items]
    index = {name: number for number, name in enumerate(manifest.classes)}
    labels = np.array([index[item.label] for item in items], np.int64)
    features = vectors[[rows[item.id] for item in items]].astype(np.float32)
    try:
        curve = draw_curve(
            features,
            labels,
            find_wholes(items),
            len(manifest.classes),
            seed=spec.seed,
            seconds=spec.seconds,
        )
    except TooFewImagesError as error:
        raise FeaturesUnavailableError(
            f"Class {manifest.classes[error.label]!r} shows too few different things to leave some out."
        ) from error
    return Curve(**asdict(curve))
