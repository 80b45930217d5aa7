"""What a sweep takes, from what each network was measured to cost: time, milliseconds and bytes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.forecasts.costs import FORWARD
from app.networks.measured import get_speed
from app.networks.registry import NetworkSpec
from app.services.successive_halving import count_survivors

START_SECONDS = 15.0
"""From a worker's claim to the first step, for each time that a candidate is taken up: process, imports and
the traces of the first steps."""
END_SECONDS = 15.0
"""To package the winner and to replay its test."""


@dataclass(frozen=True)
class Cost:
    """One candidate. ``epoch_seconds``: None where its network was not measured."""

    epoch_seconds: float | None
    milliseconds: float | None
    bytes: int


def cost_of(network: NetworkSpec, image_size: tuple[int, int], *, train: int, valid: int) -> Cost:
    """``train`` and ``valid``: images. Figures at another size than the network's own go by its pixels."""
    size = network.image_size
    part = image_size[0] * image_size[1] / size**2
    speed = get_speed(network.name)
    bytes_ = (network.parameters + network.statistics) * 4
    if speed is None:
        return Cost(None, None, bytes_)
    images = train + FORWARD * valid
    return Cost(images * speed.training_ms * part / 1000, round(speed.serving_ms * part, 2), bytes_)


def estimate_seconds(costs: Sequence[float], rungs: Sequence[Sequence[int]]) -> float:
    """How long a sweep takes on one worker, if the costliest always goes on.

    ``costs``: seconds an epoch of each candidate; ``rungs``: those of each candidate (``plan_rungs``).
    """
    order = sorted(range(len(costs)), key=lambda index: -costs[index] * rungs[index][-1])
    total = START_SECONDS + END_SECONDS  # Of the winner.
    for stage in range(len(rungs[0])):
        for index in order[: count_survivors(len(costs), stage)]:
            before = rungs[index][stage - 1] if stage else 0
            total += START_SECONDS + costs[index] * (rungs[index][stage] - before)
    return total
