"""Every network that can be trained, one line each: plain data, so that listing them loads no Keras."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from app.errors import UnknownNetworkError


@dataclass(frozen=True)
class Family:
    """What the networks of one paper share. ``module`` is the file of app.networks that builds them."""

    module: str
    paper: str
    paper_url: str
    normalization: str
    """What the published weights were trained on: a key of ``app.networks.layers.NORMALIZATIONS``."""
    min_image_size: int = 32


@dataclass(frozen=True)
class NetworkSpec:
    """One network: how it is called, what it takes and what it costs.

    ``parameters`` (trainable) and ``statistics`` (BatchNorm's moving mean and variance, not trainable) are
    counted at 1,000 classes; ``macs`` are the multiply-accumulate operations of convolutions and dense layers
    for one image of ``image_size`` pixels a side, in millions. ``dropout`` is the rate before the
    classifier.
    """

    name: str
    of: Family
    image_size: int
    parameters: int
    statistics: int
    macs: int
    dropout: float = 0.0
    aliases: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        return self.of.module

    @property
    def paper(self) -> str:
        return self.of.paper

    @property
    def paper_url(self) -> str:
        return self.of.paper_url

    @property
    def normalization(self) -> str:
        return self.of.normalization

    @property
    def has_linear_classifier(self) -> bool:
        """Whether one layer makes the logits of pooled features; SqueezeNet pools them afterwards."""
        return self.family != "squeezenet"

    @property
    def min_image_size(self) -> int:
        """The smallest side in pixels."""
        return self.of.min_image_size


def list_networks() -> tuple[NetworkSpec, ...]:
    """Every network, family by family."""
    return _NETWORKS


def get_network(name: str) -> NetworkSpec:
    """The network of that name or alias; case, underscores and hyphens do not matter.

    Raises UnknownNetworkError, which lists the names and the closest one.
    """
    spec = _BY_KEY.get(_key(name))
    if spec is None:
        close = get_close_matches(_key(name), _BY_KEY, n=1)
        guess = f"Did you mean {_BY_KEY[close[0]].name}? " if close else ""
        names = ", ".join(spec.name for spec in _NETWORKS)
        raise UnknownNetworkError(f"There is no network {name!r}", hint=f"{guess}The networks are: {names}.")
    return spec


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_MOBILENET_V1 = Family(
    "mobilenet_v1",
    "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    "https://arxiv.org/abs/1704.04861",
    "minus_one_to_one",
)
_MOBILENET_V2 = Family(
    "mobilenet_v2",
    "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    "https://arxiv.org/abs/1801.04381",
    "minus_one_to_one",
)
_MOBILENET_V3 = Family(
    "mobilenet_v3", "Searching for MobileNetV3", "https://arxiv.org/abs/1905.02244", "minus_one_to_one"
)
_EFFICIENTNET = Family(
    "efficientnet",
    "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    "https://arxiv.org/abs/1905.11946",
    "imagenet",
)
_EFFICIENTNET_LITE = Family(
    "efficientnet_lite",
    "EfficientNet-Lite",
    "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    "lite",
)
_RESNET = Family(
    "resnet", "Deep Residual Learning for Image Recognition", "https://arxiv.org/abs/1512.03385", "imagenet"
)
_RESNEXT = Family(
    "resnext",
    "Aggregated Residual Transformations for Deep Neural Networks",
    "https://arxiv.org/abs/1611.05431",
    "imagenet",
)
_SE_RESNET = Family(
    "se_resnet", "Squeeze-and-Excitation Networks", "https://arxiv.org/abs/1709.01507", "imagenet"
)
_INCEPTION_TITLE = "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning"
_INCEPTION_URL = "https://arxiv.org/abs/1602.07261"
_INCEPTION_V4 = Family("inception_v4", _INCEPTION_TITLE, _INCEPTION_URL, "minus_one_to_one", 75)
_INCEPTION_RESNET = Family("inception_resnet", _INCEPTION_TITLE, _INCEPTION_URL, "minus_one_to_one", 75)
_SQUEEZENET = Family(
    "squeezenet",
    "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
    "https://arxiv.org/abs/1602.07360",
    "imagenet",
)
_DENSENET = Family(
    "densenet", "Densely Connected Convolutional Networks", "https://arxiv.org/abs/1608.06993", "imagenet"
)
_SHUFFLENET_V2 = Family(
    "shufflenet_v2",
    "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
    "https://arxiv.org/abs/1807.11164",
    "imagenet",
)
_TINY_CNN = Family("tiny_cnn", "none: a small network for first steps and tests", "", "minus_one_to_one", 8)

# name, family, image size, trainable parameters, BatchNorm statistics, million MACs
_NETWORKS = (
    NetworkSpec(
        "mobilenet_v1", _MOBILENET_V1, 224, 4_231_976, 21_888, 569, 0.001, ("MobileNet_V1", "MobileNet")
    ),
    NetworkSpec("mobilenet_v2", _MOBILENET_V2, 224, 3_504_872, 34_112, 301, 0.2, ("MobileNet_V2",)),
    NetworkSpec(
        "mobilenet_v3_large",
        _MOBILENET_V3,
        224,
        5_483_032,
        24_400,
        217,
        0.2,
        ("MobileNet_V3", "MobileNet_V3_Large"),
    ),
    NetworkSpec(
        "mobilenet_v3_small", _MOBILENET_V3, 224, 2_542_856, 12_112, 57, 0.2, ("MobileNet_V3_Small",)
    ),
    NetworkSpec(
        "efficientnet_b0",
        _EFFICIENTNET,
        224,
        5_288_548,
        42_016,
        386,
        0.2,
        ("EfficientNet_B0", "EfficientNet"),
    ),
    NetworkSpec("efficientnet_b1", _EFFICIENTNET, 240, 7_794_184, 62_048, 687, 0.2, ("EfficientNet_B1",)),
    NetworkSpec("efficientnet_b2", _EFFICIENTNET, 260, 9_109_994, 67_568, 994, 0.3, ("EfficientNet_B2",)),
    NetworkSpec("efficientnet_b3", _EFFICIENTNET, 300, 12_233_232, 87_296, 1_827, 0.3, ("EfficientNet_B3",)),
    NetworkSpec("efficientnet_b4", _EFFICIENTNET, 380, 19_341_616, 125_200, 4_394, 0.4, ("EfficientNet_B4",)),
    NetworkSpec(
        "efficientnet_b5", _EFFICIENTNET, 456, 30_389_784, 172_736, 10_266, 0.4, ("EfficientNet_B5",)
    ),
    NetworkSpec(
        "efficientnet_b6", _EFFICIENTNET, 528, 43_040_704, 224_432, 19_068, 0.5, ("EfficientNet_B6",)
    ),
    NetworkSpec(
        "efficientnet_b7", _EFFICIENTNET, 600, 66_347_960, 310_720, 37_746, 0.5, ("EfficientNet_B7",)
    ),
    NetworkSpec(
        "efficientnet_lite0", _EFFICIENTNET_LITE, 224, 4_652_008, 42_016, 385, 0.2, ("EfficientNet_Lite0",)
    ),
    NetworkSpec(
        "efficientnet_lite1", _EFFICIENTNET_LITE, 240, 5_416_680, 53_664, 600, 0.2, ("EfficientNet_Lite1",)
    ),
    NetworkSpec(
        "efficientnet_lite2", _EFFICIENTNET_LITE, 260, 6_092_072, 58_096, 860, 0.3, ("EfficientNet_Lite2",)
    ),
    NetworkSpec("resnet18", _RESNET, 224, 11_689_512, 9_600, 1_814, aliases=("ResNet_18", "ResNet")),
    NetworkSpec("resnet34", _RESNET, 224, 21_797_672, 17_024, 3_664, aliases=("ResNet_34",)),
    NetworkSpec("resnet50", _RESNET, 224, 25_557_032, 53_120, 4_089, aliases=("ResNet_50",)),
    NetworkSpec("resnet101", _RESNET, 224, 44_549_160, 105_344, 7_801, aliases=("ResNet_101",)),
    NetworkSpec("resnet152", _RESNET, 224, 60_192_808, 151_424, 11_514, aliases=("ResNet_152",)),
    NetworkSpec(
        "resnext50_32x4d",
        _RESNEXT,
        224,
        25_028_904,
        68_224,
        4_230,
        aliases=("ResNeXt50", "ResNeXt_50", "ResNeXt"),
    ),
    NetworkSpec(
        "resnext101_32x4d", _RESNEXT, 224, 44_177_704, 137_856, 7_970, aliases=("ResNeXt101", "ResNeXt_101")
    ),
    NetworkSpec(
        "se_resnet50", _SE_RESNET, 224, 28_088_024, 53_120, 3_860, aliases=("SE_ResNet_50", "SE_ResNet")
    ),
    NetworkSpec("se_resnet101", _SE_RESNET, 224, 49_326_872, 105_344, 7_575, aliases=("SE_ResNet_101",)),
    NetworkSpec("se_resnet152", _SE_RESNET, 224, 66_821_848, 151_424, 11_289, aliases=("SE_ResNet_152",)),
    NetworkSpec(
        "se_resnext50_32x4d",
        _SE_RESNET,
        224,
        27_559_896,
        68_224,
        4_233,
        aliases=("SE_ResNeXt_50", "SE_ResNeXt"),
    ),
    NetworkSpec(
        "se_resnext101_32x4d", _SE_RESNET, 224, 48_955_416, 137_856, 7_975, aliases=("SE_ResNeXt_101",)
    ),
    NetworkSpec("inception_v4", _INCEPTION_V4, 299, 42_679_816, 63_168, 12_254, 0.2, ("InceptionV4",)),
    NetworkSpec(
        "inception_resnet_v1",
        _INCEPTION_RESNET,
        299,
        22_756_328,
        27_040,
        6_206,
        0.2,
        ("InceptionResNetV1", "Inception_ResNet_V1"),
    ),
    NetworkSpec(
        "inception_resnet_v2",
        _INCEPTION_RESNET,
        299,
        55_843_464,
        60_544,
        13_156,
        0.2,
        ("InceptionResNetV2", "Inception_ResNet_V2"),
    ),
    NetworkSpec("squeezenet1_0", _SQUEEZENET, 224, 1_248_424, 0, 819, 0.5, ("SqueezeNet", "SqueezeNet_1_0")),
    NetworkSpec("squeezenet1_1", _SQUEEZENET, 224, 1_235_496, 0, 349, 0.5, ("SqueezeNet_1_1",)),
    NetworkSpec(
        "densenet121", _DENSENET, 224, 7_978_856, 83_648, 2_834, aliases=("DenseNet_121", "DenseNet")
    ),
    NetworkSpec("densenet169", _DENSENET, 224, 14_149_480, 158_400, 3_360, aliases=("DenseNet_169",)),
    NetworkSpec("densenet201", _DENSENET, 224, 20_013_928, 229_056, 4_291, aliases=("DenseNet_201",)),
    # The paper has no DenseNet-269; the template's network of that name has the blocks of DenseNet-264.
    NetworkSpec(
        "densenet264", _DENSENET, 224, 33_337_704, 398_528, 5_752, aliases=("DenseNet_264", "DenseNet_269")
    ),
    NetworkSpec(
        "shufflenet_v2_x0_5", _SHUFFLENET_V2, 224, 1_366_792, 7_952, 40, aliases=("ShuffleNetV2_x0_5",)
    ),
    NetworkSpec(
        "shufflenet_v2_x1_0",
        _SHUFFLENET_V2,
        224,
        2_278_604,
        16_180,
        145,
        aliases=("ShuffleNetV2", "ShuffleNetV2_x1_0"),
    ),
    NetworkSpec(
        "shufflenet_v2_x1_5", _SHUFFLENET_V2, 224, 3_503_624, 23_440, 296, aliases=("ShuffleNetV2_x1_5",)
    ),
    NetworkSpec(
        "shufflenet_v2_x2_0", _SHUFFLENET_V2, 224, 7_393_996, 33_716, 583, aliases=("ShuffleNetV2_x2_0",)
    ),
    NetworkSpec("tiny_cnn", _TINY_CNN, 32, 100_312, 320, 8),
)

_BY_KEY = {_key(name): spec for spec in _NETWORKS for name in (spec.name, *spec.aliases)}
