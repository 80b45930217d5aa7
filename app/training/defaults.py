"""The defaults that depend on the network, the number of images and the weights to start from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from app.errors import InvalidRequestError
from app.networks.pretrained.sources import get_published
from app.networks.registry import NetworkSpec
from app.schemas.hyperparameters import Hyperparameters, ResolvedHyperparameters

T = TypeVar("T", bound=Hyperparameters)

_SMALL = 500
"""Train images under which a fine-tuning is careful with the backbone."""


def default_start(network: str, weights_root: Path) -> str:
    """``imagenet`` where the network's published weights are in the folder or in a package, else ``none``."""
    weights = get_published(network)
    return "imagenet" if weights is not None and weights.locate(weights_root) else "none"


def default_learning_rate(pretrained: str) -> float:
    """Of a training that starts from these weights: ``none``, or the name of some."""
    return float((_FRESH if pretrained == "none" else _FINE_TUNED)["learning_rate"])


def resolve_before_pictures(
    given: Hyperparameters, network: NetworkSpec, *, pretrained: str
) -> Hyperparameters:
    """The settings with the defaults that depend on the network and the start alone.

    ``pretrained`` is what null means here. Raises InvalidRequestError when the settings do not go together.
    """
    start = given.pretrained or pretrained
    by_start = _FRESH if start == "none" else _FINE_TUNED
    defaults = {"pretrained": start, "image_size": network.image_size, "dropout": network.dropout, **by_start}
    if given.image_sides is not None and len(set(given.image_sides)) == 1:
        given = given.model_copy(update={"image_size": given.image_sides[0]})
    return _fill(Hyperparameters, given, defaults)


def resolve_hyperparameters(
    given: Hyperparameters,
    network: NetworkSpec,
    *,
    pretrained: str,
    train_items: int,
    keeps_head: bool = False,
) -> ResolvedHyperparameters:
    """The settings with every null replaced whose default is not null itself.

    ``pretrained`` is what null means here. ``keeps_head``: the weights come with a classifier of the same
    classes, which need not be learnt first. Raises InvalidRequestError when the settings do not go together.
    """
    settled = resolve_before_pictures(given, network, pretrained=pretrained)
    if settled.method == "linear":
        return _fill(ResolvedHyperparameters, settled.model_copy(update=_NOTHING_ELSE), _LINEAR)
    if settled.pretrained == "none":
        defaults = {"epochs": _epochs(train_items, pictures=40_000, least=30, most=100)}
    else:
        defaults = _fine_tuned(train_items)
        epochs = settled.epochs or defaults["epochs"]
        defaults["freeze_epochs"] = 0 if keeps_head else min(defaults["freeze_epochs"], epochs - 1)
    resolved = _fill(ResolvedHyperparameters, settled, defaults)
    # What the schedule would cut anyway: a warm-up takes at most half of the phase that it begins.
    longest = max(resolved.freeze_epochs, resolved.epochs - resolved.freeze_epochs) / 2
    return resolved.model_copy(update={"warmup_epochs": min(resolved.warmup_epochs, longest)})


_FRESH: dict[str, Any] = {
    "freeze_epochs": 0,
    "learning_rate": 1e-3,
    "backbone_learning_rate_factor": 1.0,
    "batch_norm": "updated",
}
_FINE_TUNED: dict[str, Any] = {"learning_rate": 3e-3, "batch_norm": "frozen"}


_LINEAR: dict[str, Any] = {"epochs": 1, "freeze_epochs": 1, "backbone_learning_rate_factor": 1.0}
_NOTHING_ELSE: dict[str, Any] = {"warmup_epochs": 0.0, "augmentation": "none", "dropout": 0.0}
"""What the settings of gradient descent are where there is none."""


def _fine_tuned(train_items: int) -> dict[str, Any]:
    # Measured: docs/decisions/0009-fine-tuning.md. Few images are soon learnt by heart by a backbone that
    # may move far, and make few steps an epoch for the classifier to learn first.
    is_small = train_items < _SMALL
    return {
        "epochs": _epochs(train_items, pictures=8_000, least=4, most=20),
        "freeze_epochs": 3 if is_small else 1,
        "backbone_learning_rate_factor": 0.03 if is_small else 0.1,
    }


def _epochs(train_items: int, *, pictures: int, least: int, most: int) -> int:
    """As many as show about ``pictures`` images in all, within limits."""
    return max(least, min(most, math.ceil(pictures / train_items)))


def _fill(kind: type[T], settings: Hyperparameters, defaults: dict[str, Any]) -> T:
    values = settings.model_dump()
    values |= {name: value for name, value in defaults.items() if values[name] is None}
    try:
        return kind(**values)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidRequestError(f"The hyperparameters do not go together: {reason}.") from None
