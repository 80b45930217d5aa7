"""What a training's request comes to: pure, from the values that ``job_plan_inputs.gather`` read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.datasets.class_map import apply_class_map, check_class_map
from app.datasets.leaks import check_evaluation_dataset
from app.datasets.manifest import DatasetManifest
from app.datasets.split import SplitMap, split_dataset
from app.errors import (
    ConflictError,
    FieldError,
    ImageSizeError,
    InvalidRequestError,
    SplitError,
    WeightsError,
)
from app.images.resize import rule_for
from app.networks.pretrained.sources import get_published
from app.networks.registry import NetworkSpec, get_network
from app.schemas.gate import GateRules, ProductGate
from app.schemas.hyperparameters import LINEAR_SETTINGS, Hyperparameters
from app.schemas.job import JobCreate, JobDataset, JobPlan
from app.services.plan_warnings import PassedOver, warn_of_dataset, warn_of_split, warn_of_start
from app.training.data_order import count_steps
from app.training.defaults import resolve_before_pictures, resolve_hyperparameters

NETWORK, NETWORK_WITHOUT_WEIGHTS = "efficientnet_lite0", "mobilenet_v2"
"""What neither job nor product names: one to fine-tune, or else one that learns well from nothing."""

_START = "/hyperparameters/pretrained"


@dataclass(frozen=True)
class PublishedWeights:
    """A network's published weights on this machine; ``problem``: why training cannot start from them."""

    is_here: bool
    problem: WeightsError | None = None


@dataclass(frozen=True)
class InitialModel:
    """A model of the product, to start from."""

    id: str
    network: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class EvaluationDataset:
    """A ready dataset of the product, to test on."""

    id: str
    digest: str | None
    manifest: DatasetManifest


@dataclass(frozen=True)
class PlanInputs:
    """All that a plan depends on beside the request. ``manifest``: None while the dataset is importing.

    ``published``: by the name of each network whose weights the request may mean. ``initial_model``: None
    also where the request names one that the product does not have. ``has_first_release_worker``: such a
    worker would take up a training whose dataset is not ready, and fail it. ``passed_over``: newer datasets,
    where the request names none.
    """

    product: str
    dataset: str
    default_network: str | None = None
    gate: ProductGate = field(default_factory=lambda: ProductGate(min_accuracy=None))
    dataset_digest: str | None = None
    manifest: DatasetManifest | None = None
    published: Mapping[str, PublishedWeights] = field(default_factory=dict)
    initial_model: InitialModel | None = None
    evaluation_dataset: EvaluationDataset | None = None
    has_first_release_worker: bool = False
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True)
class Plan:
    """``job``: what a dry run answers. ``splits``: None while the dataset is importing. ``resize_rule``: None
    for the first one.
    """

    job: JobPlan
    splits: SplitMap | None
    resize_rule: str | None = None


def decide(request: JobCreate, inputs: PlanInputs, splits: SplitMap | None = None) -> Plan:
    """The job with every setting resolved; raises the error of what cannot be.

    ``splits``: as decided before for the same images and the same ``request.split``; None: to be decided.

    While the dataset is importing, what depends on its images stays open: the epochs, and for a fine-tuning
    how the backbone is treated; the counts of the split. The same request, decided again, settles it.
    """
    if inputs.manifest is None and inputs.has_first_release_worker:
        raise ConflictError(
            f"Dataset {inputs.dataset} is still importing.",
            hint="Wait until its status is 'ready': a worker of the first release is running, and would "
            "begin the training at once.",
        )
    network = _choose_network(request.network, inputs)
    given = request.hyperparameters
    _check_image_size(given, network)
    start = _choose_start(given, network, inputs)
    _check_method(given, network, given.pretrained or start)
    if given.min_accuracy is None:
        given = given.model_copy(update={"min_accuracy": inputs.gate.min_accuracy or 0.0})
    warnings = warn_of_dataset(inputs.dataset, inputs.passed_over)
    warnings += _warn_of_start(request.network, given, network, start, inputs)
    seed = request.split.seed if request.split.seed is not None else given.seed
    tested = inputs.evaluation_dataset
    manifest = _choose_classes(request, inputs.manifest)
    if manifest is None:
        settings = resolve_before_pictures(given, network, pretrained=start)
        counts = None
    else:
        _check_class_weights(given, manifest)
        if splits is None:
            splits = split_dataset(manifest, request.split, seed)
            if tested is not None:
                learned = apply_class_map(tested.manifest, request.class_map)
                check_evaluation_dataset(tested.id, learned, manifest, splits)
        counts = Counter(splits.values())
        warnings += warn_of_split(manifest, request.split, splits)
        model = inputs.initial_model
        settings = resolve_hyperparameters(
            given,
            network,
            pretrained=start,
            train_items=counts["train"],
            keeps_head=model is not None and model.labels == manifest.classes,
        )
        _check_gpus(request.gpus, counts["train"], settings.batch_size)
    job = JobPlan(
        product=inputs.product,
        dataset=JobDataset(id=inputs.dataset, digest=inputs.dataset_digest),
        evaluation_dataset=None if tested is None else JobDataset(id=tested.id, digest=tested.digest),
        network=network.name,
        hyperparameters=settings.model_dump(mode="json"),
        split={
            **request.split.model_dump(mode="json"),
            "seed": seed,
            "counts": counts and {name: counts[name] for name in ("train", "valid", "test")},
        },
        class_map=request.class_map,
        gate_rules=_resolve_gate(request.gate, inputs.gate, settings.min_accuracy),
        seed=settings.seed,
        device=request.device,
        gpus=request.gpus,
        warnings=warnings,
    )
    if inputs.has_first_release_worker:
        # Such a worker knows one method and the first rule alone, and not the settings.
        if settings.method == "fine_tune":
            del job.hyperparameters["method"]
        if settings.resize == "stretch":
            del job.hyperparameters["resize"]
            return Plan(job, splits)
    return Plan(job, splits, rule_for(settings.resize).name)


def why_not_trained(request: JobCreate, manifest: DatasetManifest) -> str | None:
    """Why a dataset's images cannot be divided as the request says; None where they can."""
    try:
        chosen = _choose_classes(request, manifest)
        split_dataset(chosen or manifest, request.split, request.hyperparameters.seed)
    except (SplitError, InvalidRequestError) as error:
        return error.detail
    return None


def _warn_of_start(
    asked: str | None, given: Hyperparameters, network: NetworkSpec, start: str, inputs: PlanInputs
) -> list[str]:
    if start != "none" or given.pretrained is not None:
        return []
    # Where nobody has chosen, the network was chosen for its lack of weights.
    brings = network.name if asked or inputs.default_network else NETWORK
    return [] if get_published(brings) is None else [warn_of_start(network.name, brings)]


def _choose_classes(request: JobCreate, manifest: DatasetManifest | None) -> DatasetManifest | None:
    if manifest is not None and request.class_map is not None:
        check_class_map(request.class_map, manifest.classes)
        return apply_class_map(manifest, request.class_map)
    return manifest


def _resolve_gate(asked: GateRules, product: ProductGate, min_accuracy: float | None) -> GateRules:
    """The rules of the request, and the product's where it names none."""
    floors = product.min_recall if asked.min_recall is None else asked.min_recall
    return asked.model_copy(
        update={
            "min_accuracy": min_accuracy,
            "min_recall": floors or None,
            "max_bytes": asked.max_bytes or product.max_bytes,
            "max_milliseconds": asked.max_milliseconds or product.max_milliseconds,
        }
    )


def _choose_network(asked: str | None, inputs: PlanInputs) -> NetworkSpec:
    name = asked or inputs.default_network
    if name is None:
        name = NETWORK if inputs.published[NETWORK].is_here else NETWORK_WITHOUT_WEIGHTS
    return get_network(name)


def _choose_start(given: Hyperparameters, network: NetworkSpec, inputs: PlanInputs) -> str:
    """What ``pretrained`` stands for, if training can start there."""
    if given.pretrained not in (None, "imagenet"):
        if given.pretrained != "none":
            _check_model(given.pretrained or "", network, inputs)
        return given.pretrained or "none"
    published = inputs.published[network.name]
    if given.pretrained is None and not published.is_here:
        return "none"
    if (problem := published.problem) is not None:
        hint = f"{problem.hint} Or set pretrained to none." if problem.hint else "Set pretrained to none."
        raise WeightsError(problem.detail, hint=hint, errors=(FieldError(_START, problem.detail),))
    return "imagenet"


def _check_model(model_id: str, network: NetworkSpec, inputs: PlanInputs) -> None:
    model = inputs.initial_model
    if model is None:
        raise InvalidRequestError(
            f"Product {inputs.product!r} has no model {model_id}.",
            hint=f"`GET /models?product={inputs.product}` lists them.",
            errors=(FieldError(_START, "no such model of this product"),),
        )
    if model.network != network.name:
        raise InvalidRequestError(
            f"The model {model_id} is a {model.network}; its weights do not fit a {network.name}.",
            hint=f"Set network to {model.network}.",
            errors=(FieldError(_START, f"weights of a {model.network}"),),
        )


def _check_method(given: Hyperparameters, network: NetworkSpec, start: str) -> None:
    """Raises InvalidRequestError for a linear probe of what has no features yet, and for unused settings."""
    if given.method != "linear":
        return
    pointer = "/hyperparameters/method"
    if start == "none":
        raise InvalidRequestError(
            f"The method linear needs weights that {network.name} starts from, and there are none.",
            hint=f"`loupe weights download {network.name}`, or take a network of `loupe weights list` whose "
            "weights are here.",
            errors=(FieldError(pointer, "linear needs pretrained weights"),),
        )
    if not network.has_linear_classifier:
        raise InvalidRequestError(
            f"The classifier of {network.name} is not linear in its pooled features.",
            hint="Take another network, or the method fine_tune.",
            errors=(FieldError(pointer, f"not for {network.name}"),),
        )
    unused = sorted(given.model_fields_set - LINEAR_SETTINGS)
    if unused:
        raise InvalidRequestError(
            f"The method linear does not use {', '.join(unused)}.",
            hint=f"Leave them out; it uses {', '.join(sorted(LINEAR_SETTINGS - {'method'}))}.",
            errors=tuple(FieldError(f"/hyperparameters/{name}", "not used by linear") for name in unused),
        )


def _check_image_size(given: Hyperparameters, network: NetworkSpec) -> None:
    if given.image_sides is not None and min(given.image_sides) < network.min_image_size:
        height, width = given.image_sides
        raise ImageSizeError(
            f"{network.name} needs at least {network.min_image_size} × {network.min_image_size} pixels, "
            f"got {height} × {width}.",
            hint=f"Its usual size is {network.image_size}.",
            errors=(FieldError("/hyperparameters/image_size", f"at least {network.min_image_size}"),),
        )


def _check_class_weights(given: Hyperparameters, manifest: DatasetManifest) -> None:
    if not isinstance(given.class_weights, dict):
        return
    unknown = sorted(set(given.class_weights) - set(manifest.classes))
    if unknown:
        raise InvalidRequestError(
            f"class_weights names classes that the dataset does not have: {', '.join(unknown)}.",
            hint=f"Its classes: {', '.join(manifest.classes)}.",
            errors=tuple(
                FieldError(f"/hyperparameters/class_weights/{name}", "no such class") for name in unknown
            ),
        )


def _check_gpus(gpus: int, items: int, batch_size: int) -> None:
    smallest = items // count_steps(items, batch_size)
    if gpus > smallest:
        raise InvalidRequestError(
            f"Batches of {smallest} images cannot be divided among {gpus} GPUs.",
            hint="Ask for fewer gpus, or for a larger batch_size.",
            errors=(FieldError("/gpus", f"at most {smallest}"),),
        )
