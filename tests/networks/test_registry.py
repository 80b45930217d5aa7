"""The registry: names, aliases, errors, and that reading it costs no Keras."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from app.errors import UnknownNetworkError
from app.networks import get_network, list_networks

TEMPLATE_SPELLINGS = {
    "MobileNet_V1": "mobilenet_v1",
    "MobileNet_V2": "mobilenet_v2",
    "MobileNet_V3": "mobilenet_v3_large",
    "EfficientNet": "efficientnet_b0",
    **{f"EfficientNet_B{n}": f"efficientnet_b{n}" for n in range(8)},
    **{f"EfficientNetB{n}": f"efficientnet_b{n}" for n in range(8)},
    "ResNeXt50": "resnext50_32x4d",
    "ResNeXt101": "resnext101_32x4d",
    "InceptionV4": "inception_v4",
    "Inception_ResNet_V1": "inception_resnet_v1",
    "Inception_ResNet_V2": "inception_resnet_v2",
    "InceptionResNetV1": "inception_resnet_v1",
    "InceptionResNetV2": "inception_resnet_v2",
    **{f"SE_ResNet_{n}": f"se_resnet{n}" for n in (50, 101, 152)},
    "SqueezeNet": "squeezenet1_0",
    **{f"DenseNet_{n}": f"densenet{n}" for n in (121, 169, 201, 264)},
    "DenseNet_269": "densenet264",
    "ShuffleNetV2": "shufflenet_v2_x1_0",
    **{f"ResNet_{n}": f"resnet{n}" for n in (18, 34, 50, 101, 152)},
}


@pytest.mark.parametrize(("spelling", "name"), TEMPLATE_SPELLINGS.items())
def test_the_templates_spelling_finds_the_network(spelling: str, name: str) -> None:
    assert get_network(spelling).name == name


@pytest.mark.parametrize("spelling", ["MOBILENET_V2", "mobilenet-v2", "MobileNetV2"])
def test_case_and_separators_do_not_matter(spelling: str) -> None:
    assert get_network(spelling).name == "mobilenet_v2"


def test_no_name_or_alias_means_two_networks() -> None:
    owners: dict[str, str] = {}
    for spec in list_networks():
        for name in (spec.name, *spec.aliases):
            key = re.sub("[^a-z0-9]", "", name.lower())
            assert owners.setdefault(key, spec.name) == spec.name


def test_an_unknown_name_is_answered_with_the_closest_and_all_names() -> None:
    with pytest.raises(UnknownNetworkError) as caught:
        get_network("mobilnet_v2")
    assert caught.value.hint is not None
    assert "Did you mean mobilenet_v2?" in caught.value.hint
    assert all(spec.name in caught.value.hint for spec in list_networks())


def test_every_network_names_its_paper_and_takes_its_own_size() -> None:
    for spec in list_networks():
        assert spec.paper
        assert spec.paper_url.startswith("https://") or spec.name == "tiny_cnn"
        assert spec.min_image_size <= spec.image_size
        assert 0 <= spec.dropout < 1


def test_listing_networks_loads_no_keras() -> None:
    code = "import sys, app.networks as n; n.list_networks(); sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
