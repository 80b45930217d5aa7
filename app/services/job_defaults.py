"""What a training's request leaves open: the network, the weights to start from, every setting."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.orm import Session

from app.datasets.manifest import DatasetManifest
from app.errors import FieldError, ImageSizeError, InvalidRequestError, WeightsError
from app.models import Product, TrainedModel
from app.networks.pretrained.published import require_published
from app.networks.registry import NetworkSpec, get_network
from app.schemas.hyperparameters import Hyperparameters, ResolvedHyperparameters
from app.storage.home import Storage
from app.storage.weights import download_weights
from app.training.defaults import default_start, resolve_hyperparameters

NETWORK, NETWORK_WITHOUT_WEIGHTS = "efficientnet_lite0", "mobilenet_v2"
"""What neither job nor product names: one to fine-tune, or else one that learns well from nothing."""

_START = "/hyperparameters/pretrained"


def choose_network(asked: str | None, product: Product, storage: Storage) -> NetworkSpec:
    """The job's network, or the product's, or the default. Raises UnknownNetworkError."""
    name = asked or product.default_network
    if name is None:
        download_weights(storage, NETWORK)
        has_weights = default_start(NETWORK, storage.weights) == "imagenet"
        name = NETWORK if has_weights else NETWORK_WITHOUT_WEIGHTS
    return get_network(name)


def resolve(
    given: Hyperparameters,
    network: NetworkSpec,
    product: Product,
    manifest: DatasetManifest,
    train_items: int,
    session: Session,
    storage: Storage,
) -> ResolvedHyperparameters:
    """Every setting that was left to the defaults gets its value; what cannot be is refused."""
    _check_image_size(given, network)
    _check_class_weights(given, manifest)
    if given.pretrained in (None, "imagenet"):
        download_weights(storage, network.name)
    start = given.pretrained or default_start(network.name, storage.weights)
    keeps_head = False
    if start == "imagenet":
        _require_published(network, storage.weights)
    elif start != "none":
        keeps_head = tuple(_require_model(session, start, network, product).labels) == manifest.classes
    if given.min_accuracy is None:
        given = given.model_copy(update={"min_accuracy": product.min_accuracy or 0.0})
    return resolve_hyperparameters(
        given, network, pretrained=start, train_items=train_items, keeps_head=keeps_head
    )


def _require_published(network: NetworkSpec, folder: Path) -> None:
    try:
        require_published(network.name, folder)
    except WeightsError as error:
        hint = f"{error.hint} Or set pretrained to none." if error.hint else "Set pretrained to none."
        raise WeightsError(error.detail, hint=hint, errors=(FieldError(_START, error.detail),)) from None


def _require_model(session: Session, model_id: str, network: NetworkSpec, product: Product) -> TrainedModel:
    model = session.get(TrainedModel, model_id)
    if model is None or model.product_id != product.id:
        raise InvalidRequestError(
            f"Product {product.id!r} has no model {model_id}.",
            hint=f"`GET /models?product={product.id}` lists them.",
            errors=(FieldError(_START, "no such model of this product"),),
        )
    if model.network != network.name:
        raise InvalidRequestError(
            f"The model {model_id} is a {model.network}; its weights do not fit a {network.name}.",
            hint=f"Set network to {model.network}.",
            errors=(FieldError(_START, f"weights of a {model.network}"),),
        )
    return model


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
