"""Asks a packaged model about images of a dataset as it is served: from the original bytes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.child import Released, Reporter, StopSignal
from app.datasets.concurrency import ordered_map
from app.datasets.manifest import Item
from app.datasets.pictures import decode_item
from app.host.machine import count_cores
from app.inference.predictor import Outcome, Predictor
from app.schemas.progress_lines import ProgressLine

_SECONDS_BETWEEN_REPORTS = 0.2


def ask_about(
    predictor: Predictor, items: Sequence[Item], image_root: Path, reporter: Reporter, stop: StopSignal
) -> tuple[list[Outcome], int]:
    """What the model says of each image, by as many threads as there are CPUs; how many images are clipped.

    Raises DatasetError for an image that cannot be read, ArtifactError, and Released when asked to leave.
    """
    outcomes: list[Outcome] = []
    threads = count_cores()
    reported, clipped = 0.0, 0
    with ThreadPoolExecutor(threads) as pool:

        def answer(item: Item) -> tuple[Outcome, bool]:
            image = decode_item(image_root, item, predictor.pixel_range, predictor.fit)
            return predictor.answer(image.pixels), image.is_clipped

        answers = ordered_map(pool, answer, items, ahead=4 * threads)
        for done, (outcome, is_clipped) in enumerate(answers, start=1):
            outcomes.append(outcome)
            clipped += is_clipped
            if stop.release:
                raise Released
            if done == len(items) or time.monotonic() - reported >= _SECONDS_BETWEEN_REPORTS:
                reported = time.monotonic()
                reporter.emit(ProgressLine(done=done, total=len(items), fraction=done / len(items)))
    return outcomes, clipped
