"""What a forecast says, from the figures, the past trainings and the answer of the child. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.files import NETWORK
from app.forecasts.corrections import (
    Z80,
    Correction,
    Past,
    correct_memory,
    correct_rest,
    correct_steps,
    divide_into_stages,
)
from app.forecasts.costs import Size, estimate_disk, estimate_memory, estimate_seconds
from app.forecasts.spec import Curve
from app.networks.measured import get_speed, measured_on
from app.schemas.common import Estimate
from app.schemas.forecast import (
    AccuracyForecast,
    CurvePoint,
    DiskForecast,
    MemoryForecast,
    Range,
    StageSeconds,
    TimeForecast,
    Unknown,
)
from app.services.proportions import predict_share
from app.words import count

_ERRORS = {
    ("linear", True): (1.0, 1.0, 1.0),
    ("linear", False): (2.0, 1.0, 0.5),
    ("fine_tune", True): (1.3, 0.6, 0.1),
    ("fine_tune", False): (2.0, 1.0, 0.1),
}
"""Errors of a training beside those of the curve: at worst, as expected, at best. By its method, and whether
its network starts as the one that gave the feature vectors. docs/forecasts.md says what they are from."""


_BUSY = 1.5
"""Programs for each core: a training that runs alone has one."""


@dataclass(frozen=True)
class Ground:
    """What a forecast stands on.

    ``device``: cpu or gpu, what it is likely to run on. ``past``: trainings that ended there.
    ``embed_seconds``: processor time of the extractor here for one image; None where it was not measured.
    ``patience``: epochs after which early stopping may end it; None without it. ``trainings_before``: those
    that are queued or running. ``load``: programs that want a core of this machine now, for each.
    """

    size: Size
    device: str
    past: Sequence[Past]
    embed_seconds: float | None = None
    patience: int | None = None
    trainings_before: int = 0
    load: float = 0.0

    @property
    def probed(self) -> float | None:
        """The time of this machine beside that of the figures."""
        speed = get_speed(NETWORK)
        if speed is None or self.embed_seconds is None:
            return None
        return self.embed_seconds * 1000 / speed.serving_ms


def needs_probe(ground: Ground) -> bool:
    """Whether the speed of this machine would be of use: no past training says what it takes."""
    corrections = correct_steps(ground.size, ground.past), correct_rest(ground.size, ground.past)
    return not all(one.trainings for one in corrections)


def forecast_time(ground: Ground) -> TimeForecast | Unknown:
    size, usual = ground.size, estimate_seconds(ground.size)
    if usual is None:
        return Unknown(
            what="time",
            why=f"What {size.network.name} costs was never measured.",
            command=f"python -m benchmarks.networks {size.network.name}",
        )
    steps = correct_steps(size, ground.past, ground.probed)
    rest = correct_rest(size, ground.past, ground.probed)
    if ground.device == "gpu" and not (steps.trainings and rest.trainings):
        return Unknown(
            what="time",
            why="No training has ended on a GPU here, and the figures of the networks are of processors.",
            command=None,
        )
    fewest = 1.0 if ground.patience is None else min(1.0, (ground.patience + 1) / size.epochs)

    def total(z: float, part: float = 1.0) -> float:
        return round(usual.steps * part * steps.at(z) + usual.rest * rest.at(z), 1)

    stages = divide_into_stages(usual, steps, rest)
    return TimeForecast(
        seconds=Range(expected=total(0.0), low=total(-Z80, fewest), high=total(Z80)),
        stages=[StageSeconds(stage=name, seconds=round(value, 1)) for name, value in stages.items()],
        trainings_before=ground.trainings_before,
        basis=_explain(rest if size.method == "linear" else steps, ground) + _warn_of_load(ground),
    )


def forecast_memory(ground: Ground) -> MemoryForecast | Unknown:
    if ground.device == "gpu":
        return Unknown(
            what="memory", why="What a training takes of a GPU's memory is not known.", command=None
        )
    usual, correction = estimate_memory(ground.size), correct_memory(ground.size, ground.past)
    low, expected, high = (round(usual * correction.at(z)) for z in (-Z80, 0.0, Z80))
    return MemoryForecast(
        bytes=Range(expected=expected, low=low, high=high), basis=_explain(correction, ground, is_time=False)
    )


def forecast_disk(size: Size) -> DiskForecast:
    disk = estimate_disk(size)
    return DiskForecast(running_bytes=disk.running, kept_bytes=disk.kept)


def forecast_accuracy(size: Size, curve: Curve, *, is_own_network: bool) -> AccuracyForecast:
    """``is_own_network``: whether the curve's feature vectors are those that the training starts with."""
    worst, usual, best = _ERRORS[size.method, is_own_network]
    error = 1 - curve.accuracies[-1]
    # Test images show the same things as often as those of the curve do.
    trials = round(size.test * min(1.0, curve.worth / curve.judged))

    def around(factor: float) -> Estimate:
        return predict_share(1 - min(1.0, factor * error), curve.worth, trials)

    value, low, high = curve.doubled
    return AccuracyForecast(
        test=Range(
            expected=round(around(usual).value, 4),
            low=round(around(worst).low, 4),
            high=round(around(best).high, 4),
        ),
        curve=[
            CurvePoint(images=images, accuracy=round(accuracy, 4))
            for images, accuracy in zip(curve.images, curve.accuracies, strict=True)
        ],
        twice_the_images=Range(expected=round(value, 4), low=round(low, 4), high=round(high, 4)),
        basis=_explain_curve(size, curve, is_own_network=is_own_network),
    )


def _explain(correction: Correction, ground: Ground, *, is_time: bool = True) -> str:
    name = ground.size.network.name
    if correction.trainings:
        of = name if correction.is_same_network else "other networks"
        return f"{count(correction.trainings, 'past training', 'past trainings')} of {of} here"
    if not is_time:
        return "the network's size; no training has noted its memory here"
    figures = f"the cost of {name} on another machine ({measured_on()})"
    if ground.probed is not None:
        return (
            f"{figures}, and the speed of this one, which takes {ground.probed:.1f} × its time for an image"
        )
    return f"{figures}; none of the method has run here"


def _warn_of_load(ground: Ground) -> str:
    """What nobody can forecast is at least said."""
    if ground.load < _BUSY:
        return ""
    return f"; this machine is busy now, with {ground.load:.1f} programs for each core, which makes it longer"


def _explain_curve(size: Size, curve: Curve, *, is_own_network: bool) -> str:
    judged = count(curve.judged, "image", "images")
    if round(curve.worth) < curve.judged:
        judged += f", which are worth {round(curve.worth):,} that show different things,"
    text = f"linear classifiers on the features of {NETWORK}, judged by {judged} that they had not seen"
    if is_own_network:
        return text if size.method == "linear" else f"{text}; fine-tuning mostly errs less"
    return f"{text}; {size.network.name} starts from other weights, so it may differ more"
