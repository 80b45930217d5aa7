"""Which trainings a sweep consists of: pure, from what ``job_plan_inputs.gather`` read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app.datasets.split import SplitMap
from app.errors import FieldError, InvalidRequestError, LoupeError, UnknownNetworkError
from app.networks.registry import NetworkSpec, get_network, list_networks
from app.schemas.hyperparameters import Hyperparameters, ResolvedHyperparameters
from app.schemas.job import JobCreate, TrainingCreate
from app.schemas.sweep import MOST_CANDIDATES, SweepCreate
from app.schemas.sweep_state import Skipped
from app.services.job_plan import Plan, PlanInputs, decide
from app.services.successive_halving import plan_cuts, plan_rungs
from app.services.sweep_costs import Cost, cost_of, estimate_seconds


@dataclass(frozen=True)
class PlannedTraining:
    """One candidate. ``settings``: its values of the grid."""

    request: JobCreate
    settings: dict[str, Any]
    plan: Plan
    cost: Cost

    @property
    def hyperparameters(self) -> ResolvedHyperparameters:
        return ResolvedHyperparameters.model_validate(self.plan.job.hyperparameters)

    @property
    def epochs(self) -> tuple[int, int]:
        """All of them, and those with a frozen backbone."""
        settings = self.hyperparameters
        return settings.epochs, settings.freeze_epochs

    @property
    def seconds(self) -> float:
        """Of all its epochs by the measured cost, infinite where there is none."""
        per_epoch = self.cost.epoch_seconds
        return float("inf") if per_epoch is None else per_epoch * self.epochs[0]


@dataclass(frozen=True)
class PlannedSweep:
    """``rungs``: one tuple a training. ``estimated_seconds``: None where a cost is not known."""

    trainings: tuple[PlannedTraining, ...]
    rungs: tuple[tuple[int, ...], ...]
    estimated_seconds: float | None
    skipped: tuple[Skipped, ...]
    splits: SplitMap

    @property
    def cuts(self) -> int:
        return len(self.rungs[0]) - 1


def choose_networks(request: SweepCreate) -> list[NetworkSpec]:
    """Those that the request names, each once, or all. Raises UnknownNetworkError with the unknown."""
    if not isinstance(request.networks, list):
        return list(list_networks())
    found: dict[str, NetworkSpec] = {}
    unknown: list[tuple[FieldError, UnknownNetworkError]] = []
    for index, name in enumerate(request.networks):
        try:
            spec = get_network(name)
            found[spec.name] = spec
        except UnknownNetworkError as error:
            unknown.append((FieldError(f"/networks/{index}", error.detail), error))
    if unknown:
        first = unknown[0][1]
        raise UnknownNetworkError(first.detail, hint=first.hint, errors=tuple(one for one, _ in unknown))
    return list(found.values())


def as_job(request: SweepCreate, network: str, settings: dict[str, Any]) -> JobCreate:
    """One training of the sweep as a request of its own, with the seed of the one split.

    Raises InvalidRequestError when a value of the grid does not fit.
    """
    given = request.hyperparameters.model_dump(exclude_unset=True)
    try:
        hyperparameters = Hyperparameters(**{**given, **settings})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidRequestError(
            f"A value of the grid does not fit: {name}{': ' if name else ''}{reason}.",
            errors=(FieldError(f"/grid/{name}".rstrip("/"), reason),),
        ) from None
    shared = {name: getattr(request, name) for name in TrainingCreate.model_fields}
    seed = request.split.seed if request.split.seed is not None else request.hyperparameters.seed
    split = request.split.model_copy(update={"seed": seed})
    return JobCreate(**{**shared, "network": network, "hyperparameters": hyperparameters, "split": split})


def decide_sweep(request: SweepCreate, networks: Sequence[NetworkSpec], inputs: PlanInputs) -> PlannedSweep:
    """The trainings that fit, with the epochs at which they are compared.

    A network that was named must be trainable, or its error is raised; of all of them those are skipped that
    are not. Raises InvalidRequestError when no network is left, or too many trainings.
    """
    is_named = isinstance(request.networks, list)
    points = [
        dict(zip(request.grid, values, strict=True)) for values in itertools.product(*request.grid.values())
    ]
    if len(points) * (len(networks) if is_named else 1) > MOST_CANDIDATES:
        raise _too_many(len(points) * len(networks))
    trainings: list[PlannedTraining] = []
    skipped: dict[str, str] = {}
    splits: SplitMap | None = None
    for network, settings in itertools.product(networks, points):
        job = as_job(request, network.name, settings)
        try:
            plan = decide(job, inputs, splits)
        except LoupeError as error:
            if is_named or (splits is None and not _is_about_network(error)):
                raise
            skipped[network.name] = error.detail
            continue
        splits = plan.splits
        counts = plan.job.split["counts"]
        size = ResolvedHyperparameters.model_validate(plan.job.hyperparameters).image_sides
        cost = cost_of(network, size, train=counts["train"], valid=counts["valid"])
        trainings.append(PlannedTraining(job, settings, plan, cost))
    trainings = _within_limits(request, trainings, skipped)
    trainings, rungs, seconds = _within_budget(request.budget_seconds, trainings, skipped)
    if len(trainings) > MOST_CANDIDATES:
        raise _too_many(len(trainings))
    assert splits is not None, "a dataset that is ready can be divided"
    reasons = tuple(Skipped(network=name, reason=reason) for name, reason in sorted(skipped.items()))
    return PlannedSweep(tuple(trainings), rungs, seconds, reasons, splits)


def _is_about_network(error: LoupeError) -> bool:
    """Whether another network may do: everything else would be wrong with each of them."""
    pointers = [one.pointer for one in error.errors]
    return pointers in (
        ["/hyperparameters/image_size"],
        ["/hyperparameters/method"],
        ["/hyperparameters/pretrained"],
    )


def _too_many(number: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"The sweep would have {number:,} trainings; it may have {MOST_CANDIDATES}.",
        hint="Name fewer networks, or fewer values in the grid.",
        errors=(FieldError("/grid", f"at most {MOST_CANDIDATES} trainings"),),
    )


def _within_limits(
    request: SweepCreate, trainings: list[PlannedTraining], skipped: dict[str, str]
) -> list[PlannedTraining]:
    """Those that are fast and small enough. Raises InvalidRequestError when none is."""
    limits = (
        ("max_milliseconds", "milliseconds", "takes {:g} ms a prediction"),
        ("max_bytes", "bytes", "takes {:,} bytes"),
    )
    for name, figure, sentence in limits:
        if (most := getattr(request, name)) is None:
            continue
        known = [one for one in trainings if getattr(one.cost, figure) is not None]
        fitting = [one for one in known if getattr(one.cost, figure) <= most]
        if not fitting and known:
            least = min(known, key=lambda one: getattr(one.cost, figure))
            value = getattr(least.cost, figure)
            raise InvalidRequestError(
                f"No network fits {name} {most:,}: the least that would do is {value:,}, for {_name(least)}.",
                errors=(FieldError(f"/{name}", f"at least {value}"),),
            )
        for one in trainings:
            if one not in fitting:
                value = getattr(one.cost, figure)
                skipped[_name(one)] = "was not measured" if value is None else sentence.format(value)
        trainings = fitting
    if not trainings:
        detail = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        raise InvalidRequestError(f"No network can be trained as asked: {detail}")
    return trainings


def _within_budget(
    budget: float | None, trainings: list[PlannedTraining], skipped: dict[str, str]
) -> tuple[list[PlannedTraining], tuple[tuple[int, ...], ...], float | None]:
    """As many as the time is enough for, with their rungs and the time that they take by the measured costs.

    Those with weights to start from come first, since few images teach a network little from nothing; among
    them the cheapest. Raises InvalidRequestError when not even one fits.
    """
    if budget is None:
        return trainings, *_lay_out(trainings)
    by_cost = sorted(
        trainings, key=lambda one: (one.hyperparameters.pretrained == "none", one.seconds, _name(one))
    )
    chosen: list[PlannedTraining] = []
    for one in by_cost:
        _, seconds = _lay_out([*chosen, one])
        if seconds is not None and seconds <= budget:
            chosen.append(one)
        else:
            skipped[_name(one)] = (
                "its cost was not measured" if seconds is None else "does not fit the time beside the others"
            )
    if not chosen:
        alone = [(_lay_out([one])[1] or float("inf"), _name(one)) for one in trainings]
        seconds, name = min(alone)
        least = -(-seconds // 1)
        raise InvalidRequestError(
            f"A budget of {budget:g} seconds is too small for any network: the cheapest, {name}, takes about "
            f"{least:,.0f} seconds.",
            hint=f"Give at least {least:.0f} seconds, or fewer epochs, or a smaller image_size.",
            errors=(FieldError("/budget_seconds", f"at least {least:.0f}"),),
        )
    order = {id(one): index for index, one in enumerate(trainings)}
    chosen.sort(key=lambda one: order[id(one)])
    return chosen, *_lay_out(chosen)


def _lay_out(trainings: Sequence[PlannedTraining]) -> tuple[tuple[tuple[int, ...], ...], float | None]:
    cuts = plan_cuts(len(trainings), [one.epochs for one in trainings])
    rungs = tuple(plan_rungs(*one.epochs, cuts) for one in trainings)
    costs = [one.cost.epoch_seconds for one in trainings]
    known = [cost for cost in costs if cost is not None]
    return rungs, estimate_seconds(known, rungs) if len(known) == len(costs) else None


def _name(one: PlannedTraining) -> str:
    values = ", ".join(f"{name} {value}" for name, value in one.settings.items())
    return f"{one.plan.job.network} ({values})" if values else one.plan.job.network
