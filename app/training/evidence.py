"""What the images of train and valid say of a network that is trained: how sure it may be, and of what."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.artifacts import LITERT_MODEL, Calibration, Decision, Output
from app.datasets.concurrency import ordered_map
from app.datasets.wholes import find_wholes
from app.evaluation.calibration import fit_temperature
from app.evaluation.decisions import fit_decision
from app.host.machine import count_cores
from app.inference.familiarity import Familiarity
from app.inference.interpreters import Interpreters
from app.inference.temperature import apply_temperature
from app.training.subsets import Subset
from app.training.work import Work

Features = NDArray[np.float32]
Labels = NDArray[np.int64]

SPLIT = "valid"
MOST_REFERENCES = 1000
"""Of 1,280 dimensions: 2.6 MB in the artifact, and 0.3 ms a prediction."""
MOST_JUDGED = 5000
"""Images of the validation split: more would hardly move a threshold."""


@dataclass(frozen=True)
class Evidence:
    """What n images judge a network by that have not trained it.

    ``labels``: their classes, int64 (n,). ``wholes``: a key each, the same for images that show the same
    thing. ``probabilities``: its answers, float32 (n, classes), not calibrated. ``embed``: given the LiteRT
    model and its outputs, the features of these images, and those of the reference images, float32
    (m, dimensions). ``tried``: how many networks these images have chosen from.
    """

    labels: Labels
    wholes: list[str]
    probabilities: Features
    embed: Callable[[bytes, tuple[Output, ...]], tuple[Features, Features]]
    tried: int


def choose_judged(work: Work) -> list[int]:
    """The positions of the images of the validation split that judge a network."""
    members = np.array(work.split[SPLIT])
    chosen = np.random.default_rng(work.settings.seed).permutation(len(members))[:MOST_JUDGED]
    return [int(position) for position in members[np.sort(chosen)]]


def choose_references(work: Work) -> list[int]:
    """The positions of training images that others are compared with: as many of each class."""
    members = work.split["train"]
    shuffled = [
        members[place] for place in np.random.default_rng(work.settings.seed).permutation(len(members))
    ]
    met: dict[str, int] = {}
    turns = []
    for position in shuffled:
        label = work.manifest.items[position].label
        met[label] = met.get(label, 0) + 1
        turns.append(met[label])
    order = np.argsort(turns, kind="stable")[:MOST_REFERENCES]
    return [shuffled[place] for place in order]


def label_wholes(work: Work, positions: list[int]) -> tuple[Labels, list[str]]:
    """The class of each image as an index, and its key: the same for images that show the same thing."""
    items = [work.manifest.items[position] for position in positions]
    index = {name: number for number, name in enumerate(work.manifest.classes)}
    return np.array([index[item.label] for item in items], np.int64), find_wholes(items)


def calibrate(evidence: Evidence) -> Calibration:
    fitted = fit_temperature(evidence.probabilities, evidence.labels, evidence.wholes)
    return Calibration(
        method="temperature",
        temperature=fitted.value,
        split=SPLIT,
        items=fitted.items,
        log_loss=fitted.after,
        log_loss_before=fitted.before,
    )


def decide_by(
    evidence: Evidence, temperature: float, litert: bytes, outputs: tuple[Output, ...]
) -> tuple[Decision, NDArray[np.float16]]:
    """The rule for accepting answers, and the reference features that it needs, float16 (m, dimensions)."""
    judged, references = evidence.embed(litert, outputs)
    most = np.finfo(np.float16).max
    kept = references.clip(-most, most).astype(np.float16)
    familiarity = Familiarity(kept)
    similarities = np.array([familiarity.measure(row) for row in judged], np.float32)
    probabilities = apply_temperature(evidence.probabilities, temperature)
    decision = fit_decision(
        probabilities, evidence.labels, evidence.wholes, similarities, split=SPLIT, tried=evidence.tried
    )
    return decision, kept


def embed_subset(
    subset: Subset, litert: bytes, outputs: tuple[Output, ...], alive: Callable[[], None]
) -> Features:
    """The features of a subset's records by the model that will be served, float32 (n, dimensions).

    ``alive`` is called after each batch.
    """
    height, width = subset.reader.image_size
    interpreters = Interpreters(
        litert,
        LITERT_MODEL,
        (1, height, width, 3),
        *(output.tensor_shape for output in outputs),
        hint="This is a fault of Loupe or of a library: please report it.",
    )
    threads = count_cores()
    rows: list[Features] = []
    with ThreadPoolExecutor(threads) as pool:

        def embed(image: NDArray[np.uint8]) -> Features:
            return interpreters.run_all(image[np.newaxis].astype(np.float32), 2)[1]

        for images, _ in subset.read_in_order():
            rows += ordered_map(pool, embed, list(images), ahead=2 * threads)
            alive()
    return np.stack(rows)
