"""Every read that a training's plan needs: database, storage and the published weights on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.datasets.manifest import DatasetManifest
from app.errors import ConflictError, FieldError, InvalidRequestError, WeightsError
from app.job_queue import QUEUES
from app.models import Dataset, Product, TrainedModel
from app.networks.pretrained.published import require_published
from app.networks.registry import NetworkSpec, get_network
from app.schemas.hyperparameters import Hyperparameters
from app.schemas.job import JobCreate
from app.services.dataset_manifests import manifest_of
from app.services.dataset_states import require_dataset, require_not_failed, require_ready
from app.services.job_plan import (
    NETWORK,
    NETWORK_WITHOUT_WEIGHTS,
    EvaluationDataset,
    InitialModel,
    PlanInputs,
    PublishedWeights,
    why_not_trained,
)
from app.services.plan_warnings import PassedOver
from app.services.products import read_gate, require_product
from app.services.workers import has_first_release_worker
from app.storage.home import Storage
from app.storage.weights import download_weights
from app.training.defaults import default_start

MOST_TRIED = 10
"""Datasets that are looked at for one that can be trained on."""


def gather(
    context: AppContext, request: JobCreate, networks: Sequence[NetworkSpec] | None = None
) -> PlanInputs:
    """What ``job_plan.decide`` needs, for the request's network or for each of ``networks`` in its place.

    Raises NotFoundError, InvalidRequestError, UnknownNetworkError; ConflictError when there is no dataset
    that is ready or importing, or the evaluation dataset is not ready.
    """
    with context.db.read() as session:
        product = require_product(session, request.product)
        candidates = _list_candidates(session, product, request.dataset)
        tested = _find_evaluation_dataset(session, product, request.evaluation_dataset)
        initial_model = _find_model(session, request.hyperparameters.pretrained, product)
        has_first_release = has_first_release_worker(session, QUEUES)
    dataset, manifest, passed_over = _choose_dataset(context.storage, request, candidates)
    # Files may have to come from the storage that hosts share: no connection is held meanwhile.
    return PlanInputs(
        product=product.id,
        dataset=dataset.id,
        default_network=product.default_network,
        gate=read_gate(product),
        dataset_digest=dataset.digest,
        manifest=manifest,
        published=_look_for_weights(context.storage, request, product, networks),
        initial_model=initial_model,
        evaluation_dataset=None if tested is None else _read_evaluation_dataset(context.storage, tested),
        has_first_release_worker=has_first_release,
        passed_over=passed_over,
    )


def _read_manifest(storage: Storage, dataset: Dataset) -> DatasetManifest | None:
    """None while the dataset is importing."""
    if dataset.status != "ready":
        return None
    return manifest_of(storage, dataset)


def _list_candidates(session: Session, product: Product, dataset_id: str | None) -> list[Dataset]:
    """The one asked for; else those of the product from which one is chosen, the newest first."""
    if dataset_id is not None:
        return [require_not_failed(_find_dataset(session, product, dataset_id, "/dataset"))]
    newest_first = select(Dataset).where(Dataset.product_id == product.id).order_by(Dataset.id.desc())
    usable = newest_first.where(Dataset.status.in_(("ready", "importing"))).limit(MOST_TRIED)
    if found := list(session.scalars(usable)):
        return found
    if (failed := session.scalar(newest_first.limit(1))) is not None:
        require_not_failed(failed)
    raise ConflictError(
        f"Product {product.id!r} has no dataset to train on.",
        hint=f"Import images first: `POST /products/{product.id}/datasets`.",
    )


def _choose_dataset(
    storage: Storage, request: JobCreate, candidates: Sequence[Dataset]
) -> tuple[Dataset, DatasetManifest | None, tuple[PassedOver, ...]]:
    """The newest that is ready and can be trained on, with its manifest, and the newer ones passed over.

    Without one: the newest that is ready, whose fault the plan then names, else the newest.
    """
    if len(candidates) == 1:
        return candidates[0], _read_manifest(storage, candidates[0]), ()
    passed_over: list[PassedOver] = []
    for dataset in candidates:
        if (manifest := _read_manifest(storage, dataset)) is None:
            passed_over.append(PassedOver(dataset.id, "it is still importing"))
        elif (reason := why_not_trained(request, manifest)) is not None:
            passed_over.append(PassedOver(dataset.id, f"cannot be trained on: {reason}"))
        else:
            return dataset, manifest, tuple(passed_over)
    chosen = next((one for one in candidates if one.status == "ready"), candidates[0])
    return chosen, _read_manifest(storage, chosen), ()


def _find_evaluation_dataset(session: Session, product: Product, dataset_id: str | None) -> Dataset | None:
    if dataset_id is None:
        return None
    return require_ready(_find_dataset(session, product, dataset_id, "/evaluation_dataset"))


def _find_dataset(session: Session, product: Product, dataset_id: str, field: str) -> Dataset:
    dataset = require_dataset(session, dataset_id)
    if dataset.product_id != product.id:
        raise InvalidRequestError(
            f"Dataset {dataset_id} belongs to product {dataset.product_id!r}, not to {product.id!r}.",
            errors=(FieldError(field, "belongs to another product"),),
        )
    return dataset


def _read_evaluation_dataset(storage: Storage, dataset: Dataset) -> EvaluationDataset:
    return EvaluationDataset(dataset.id, dataset.digest, manifest_of(storage, dataset))


def _look_for_weights(
    storage: Storage, request: JobCreate, product: Product, networks: Sequence[NetworkSpec] | None
) -> dict[str, PublishedWeights]:
    """The weights of each network that the request may mean, as far as it may start from them."""
    named = request.network or product.default_network
    names: tuple[str, ...] = ()
    if networks is None and named is None:
        names = (NETWORK, NETWORK_WITHOUT_WEIGHTS)
    elif request.hyperparameters.pretrained in (None, "imagenet"):
        names = tuple(spec.name for spec in networks or [get_network(named or "")])
    return {name: _weights_of(storage, name, request.hyperparameters) for name in names}


def _weights_of(storage: Storage, network: str, given: Hyperparameters) -> PublishedWeights:
    download_weights(storage, network)
    is_here = default_start(network, storage.weights) == "imagenet"
    if given.pretrained == "imagenet" or (given.pretrained is None and is_here):
        try:
            require_published(network, storage.weights)
        except WeightsError as error:
            return PublishedWeights(is_here, error)
    return PublishedWeights(is_here)


def _find_model(session: Session, model_id: str | None, product: Product) -> InitialModel | None:
    model = session.get(TrainedModel, model_id or "")
    if model is None or model.product_id != product.id:
        return None
    return InitialModel(model.id, model.network, tuple(model.labels))
