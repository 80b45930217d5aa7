"""What a planned training will take and bring. It writes nothing and starts no job.

A process of its own, which takes some seconds at most, measures this machine and draws a learning curve. What
cannot be told is said to be unknown, with the command that would tell.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Literal

from sqlalchemy import func, select

from app.context import AppContext
from app.datasets.class_map import apply_class_map
from app.datasets.manifest import DatasetManifest
from app.datasets.split import SplitMap
from app.datasets.tfrecord import name_records
from app.errors import AnalysisError, BusyError
from app.features.extractor import read_note
from app.features.files import NETWORK
from app.features.vectors import read_header
from app.forecasts.spec import ForecastResult, ForecastSpec
from app.host.machine import count_cores
from app.images.resize import rule_for
from app.models import Job
from app.networks.registry import get_network
from app.schemas.forecast import AccuracyForecast, Forecast, Unknown
from app.schemas.hyperparameters import ResolvedHyperparameters
from app.schemas.job import JobCreate
from app.schemas.job_kinds import DEVICE_KINDS
from app.services.forecast_rules import (
    Ground,
    forecast_accuracy,
    forecast_disk,
    forecast_memory,
    forecast_time,
    needs_probe,
)
from app.services.job_plan import Plan, PlanInputs
from app.services.limited_child import MEMORY_BYTES, run_limited, taking_turn
from app.services.past_trainings import describe_size, read_past
from app.services.workers import has_gpus
from app.storage.extractor import download_examination
from app.storage.home import Storage

CURVE_SECONDS, CPU_SECONDS, SECONDS, WAIT_SECONDS = 6.0, 15, 20.0, 2.0
"""Of the process: after which the curve begins no further fold, most processor time, most time; and how long
another one is waited for."""
MOST_IMAGES = 4000
"""Of a learning curve."""


def forecast_training(context: AppContext, request: JobCreate, inputs: PlanInputs, plan: Plan) -> Forecast:
    """What the training that was planned takes and brings, on an installation as it is now."""
    if inputs.manifest is None or plan.splits is None:
        return _wait_for_import(plan.job.dataset.id)
    settings = ResolvedHyperparameters.model_validate({"method": "fine_tune", **plan.job.hyperparameters})
    learned = apply_class_map(inputs.manifest, request.class_map)
    lack = _find_lack(context.storage, plan, settings)
    items = _choose_items(learned, plan.splits, settings.seed) if lack is None else ()
    ground = _gather(context, inputs, plan, settings, learned)
    answer = _ask_child(
        context,
        request,
        plan,
        items,
        seed=settings.seed,
        probes=ground.device == "cpu" and needs_probe(ground),
    )
    ground = replace(ground, embed_seconds=answer.embed_seconds)
    accuracy: AccuracyForecast | Unknown
    if lack is not None or answer.curve is None:
        accuracy = lack or Unknown(what="accuracy", why=answer.problem or "No curve was drawn.", command=None)
    else:
        is_own = _starts_as_examined(settings, plan.job.network)
        accuracy = forecast_accuracy(ground.size, answer.curve, is_own_network=is_own)
        if (tested := plan.job.evaluation_dataset) is not None:
            accuracy.basis += f"; of {plan.job.dataset.id}, whose images {tested.id} may not be like"
    found = {"time": forecast_time(ground), "memory": forecast_memory(ground), "accuracy": accuracy}
    return Forecast(
        **{name: None if isinstance(one, Unknown) else one for name, one in found.items()},
        disk=forecast_disk(ground.size),
        unknown=[one for one in found.values() if isinstance(one, Unknown)],
    )


def _wait_for_import(dataset: str) -> Forecast:
    why, command = f"Dataset {dataset} is still importing.", f"loupe dataset show {dataset}"
    names: tuple[Literal["time", "memory", "disk", "accuracy"], ...] = ("time", "memory", "disk", "accuracy")
    unknown = [Unknown(what=name, why=why, command=command) for name in names]
    return Forecast(time=None, memory=None, disk=None, accuracy=None, unknown=unknown)


def _gather(
    context: AppContext,
    inputs: PlanInputs,
    plan: Plan,
    settings: ResolvedHyperparameters,
    learned: DatasetManifest,
) -> Ground:
    """All but what the child measures."""
    job, storage, tested = plan.job, context.storage, inputs.evaluation_dataset
    counts = {name: job.split["counts"][name] for name in ("train", "valid", "test")}
    if tested is not None:
        counts["test"] = len(tested.manifest.items)
    records = storage.records / name_records(learned, settings.image_sides, rule_for(settings.resize))
    size = describe_size(
        get_network(job.network),
        settings,
        counts,
        has_features=_starts_as_examined(settings, job.network) and _is_examined(storage, job.dataset.id),
        has_records=records.exists(),
    )
    with context.db.read() as session:
        device = "gpu" if job.device == "gpu" or (job.device == "auto" and has_gpus(session)) else "cpu"
        before = select(func.count()).where(Job.kind.in_(DEVICE_KINDS), Job.status.in_(("queued", "running")))
        return Ground(
            size=size,
            device=device,
            past=read_past(session, device),
            patience=None if settings.early_stopping is None else settings.early_stopping.patience,
            trainings_before=session.scalar(before) or 0,
            load=os.getloadavg()[0] / count_cores(),
        )


def _starts_as_examined(settings: ResolvedHyperparameters, network: str) -> bool:
    """Whether the network's first features are those of an examination."""
    own = get_network(NETWORK).image_size
    as_examined = ("imagenet", "stretch", (own, own))
    return network == NETWORK and (settings.pretrained, settings.resize, settings.image_sides) == as_examined


def _is_examined(storage: Storage, dataset: str) -> bool:
    return read_header(storage.dataset(dataset)) is not None


def _find_lack(storage: Storage, plan: Plan, settings: ResolvedHyperparameters) -> Unknown | None:
    """Why the accuracy cannot be forecast; None where it can."""
    dataset = plan.job.dataset.id
    if settings.pretrained == "none":
        return Unknown(
            what="accuracy",
            why="The training starts from random weights, of which pretrained features say little.",
            command=None,
        )
    download_examination(storage, dataset)
    if not _is_examined(storage, dataset):
        return Unknown(
            what="accuracy",
            why=f"Dataset {dataset} has no feature vectors.",
            command=f"loupe dataset examine {dataset}",
        )
    return None


def _choose_items(manifest: DatasetManifest, splits: SplitMap, seed: int) -> tuple[int, ...]:
    """Positions of images of train and valid: those of test have no say before the end."""
    learned = [row for row, item in enumerate(manifest.items) if splits.get(item.id) in ("train", "valid")]
    if len(learned) > MOST_IMAGES:
        learned = sorted(random.Random(seed).sample(learned, MOST_IMAGES))
    return tuple(learned)


def _ask_child(
    context: AppContext,
    request: JobCreate,
    plan: Plan,
    items: tuple[int, ...],
    *,
    seed: int,
    probes: bool,
) -> ForecastResult:
    """What the process found; where it found nothing, ``problem`` says why. ``probes``: whether it times this
    machine too.
    """
    storage = context.storage
    probes = probes and read_note(storage.extractor) is not None
    if not (items or probes):
        return ForecastResult()
    spec = ForecastSpec(
        extractor=storage.extractor if probes else None,
        dataset=storage.dataset(plan.job.dataset.id) if items else None,
        class_map=request.class_map,
        items=items,
        seed=seed,
        seconds=CURVE_SECONDS,
        memory_bytes=MEMORY_BYTES,
    )
    try:
        with taking_turn(WAIT_SECONDS), storage.scratch_folder("forecast") as folder:
            return run_limited(
                context,
                "app.forecasts",
                spec,
                ForecastResult,
                folder,
                cpu_seconds=CPU_SECONDS,
                seconds=SECONDS,
            )
    except BusyError:
        return ForecastResult(problem="Other requests are being worked on: ask again in a few seconds.")
    except AnalysisError as error:
        return ForecastResult(problem=f"No learning curve was drawn. {error.detail}")
