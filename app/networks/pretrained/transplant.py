"""Which torch module becomes which layer, and how its tensors are laid out there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from app.errors import WeightsError
from app.networks.registry import NetworkSpec, get_network

if TYPE_CHECKING:
    import keras

HEAD = "logits"

# A family of our own takes its layers' names from its reference, so that only the classifier is renamed.
_CLASSIFIERS = {
    "resnet": "fc",
    "resnext": "fc",
    "se_resnet": "last_linear",
    "shufflenet_v2": "fc",
    "squeezenet": "classifier.1",
    "efficientnet": "classifier",
    "efficientnet_lite": "classifier",
    "inception_v4": "last_linear",
    "inception_resnet": "classif",
    "densenet": "classifier",
    "mobilenet_v1": "classifier",
    "mobilenet_v2": "classifier",
    "mobilenet_v3": "classifier",
}

_DENSE_PARTS = {"norm1": "0_bn", "conv1": "1_conv", "norm2": "1_bn", "conv2": "2_conv"}
_DENSE_STEM = {"features.conv0": "conv1_conv", "features.norm0": "conv1_bn", "features.norm5": "bn"}


def layer_names(spec: NetworkSpec, modules: Iterable[str], layers: Iterable[str]) -> dict[str, str]:
    """The layer, of the network's ``layers``, that takes each torch module of its reference, by their names.

    The references are torchvision's ResNet, ResNeXt50, DenseNet, SqueezeNet and ShuffleNetV2, timm's for the
    others, and facenet-pytorch's trunk for Inception-ResNet-v1.
    """
    classifier = _CLASSIFIERS.get(spec.family)
    modules = list(modules)
    if "_conv_stem" in modules:
        return _efficientnet_pytorch(modules, layers)
    modules = [module for module in dict.fromkeys(modules) if module != classifier]
    rename = _RENAMED.get(spec.family)
    names = rename(modules) if rename else {module: module for module in modules}
    return names | ({classifier: HEAD} if classifier else {})


def _efficientnet_pytorch(modules: list[str], layers: Iterable[str]) -> dict[str, str]:
    """The names of the packages efficientnet-pytorch and -lite-pytorch, which count all blocks through."""
    blocks = list(
        dict.fromkeys(".".join(layer.split(".")[:3]) for layer in layers if layer.startswith("blocks."))
    )
    stem = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": HEAD}
    gate = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    names = {}
    for module in modules:
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)", module):
            index, part = int(match[1]), match[2]
            if f"_blocks.{index}._expand_conv" in modules:
                parts = {
                    "_expand_conv": "conv_pw",
                    "_bn0": "bn1",
                    "_depthwise_conv": "conv_dw",
                    "_bn1": "bn2",
                    "_project_conv": "conv_pwl",
                    "_bn2": "bn3",
                }
            else:
                parts = {
                    "_depthwise_conv": "conv_dw",
                    "_bn1": "bn1",
                    "_project_conv": "conv_pw",
                    "_bn2": "bn2",
                }
            if index < len(blocks) and (renamed := (parts | gate).get(part)):
                names[module] = f"{blocks[index]}.{renamed}"
        elif module in stem:
            names[module] = stem[module]
    return names


def _densenet(modules: list[str]) -> dict[str, str]:
    names = {}
    for module in modules:
        # torchvision's files are older than its code, and write norm.1 for norm1.
        if layer := re.fullmatch(r"features\.denseblock(\d)\.denselayer(\d+)\.(norm|conv)\.?([12])", module):
            stage, block, kind, number = layer.groups()
            names[module] = f"conv{int(stage) + 1}_block{block}_{_DENSE_PARTS[kind + number]}"
        elif transition := re.fullmatch(r"features\.transition(\d)\.(norm|conv)", module):
            stage, part = transition.groups()
            names[module] = f"pool{int(stage) + 1}_{'bn' if part == 'norm' else 'conv'}"
        else:
            names[module] = _DENSE_STEM.get(module, module)
    return names


def _mobilenet_v1(modules: list[str]) -> dict[str, str]:
    parts = {"conv_dw": "conv_dw_{}", "bn1": "conv_dw_{}_bn", "conv_pw": "conv_pw_{}", "bn2": "conv_pw_{}_bn"}
    stem = {"conv_stem": "conv1", "bn1": "conv1_bn"}
    return {
        module: stem[module] if block is None else parts[part].format(block + 1)
        for module, block, part in _numbered(modules, stem)
    }


def _mobilenet_v2(modules: list[str]) -> dict[str, str]:
    stem = {"conv_stem": "Conv1", "bn1": "bn_Conv1", "conv_head": "Conv_1", "bn2": "Conv_1_bn"}
    names = {}
    for module, block, part in _numbered(modules, stem):
        if block is None:
            names[module] = stem[module]
        else:
            prefix = f"block_{block}" if block else "expanded_conv"
            names[module] = f"{prefix}_{_inverted_residual_part(part, block > 0, '_BN')}"
    return names


def _mobilenet_v3(modules: list[str]) -> dict[str, str]:
    stem = {"conv_stem": "conv", "bn1": "conv_bn", "conv_head": "conv_2"}
    names = {}
    for module, block, part in _numbered(modules, stem):
        if block is None:
            names[module] = stem[module]
        elif part in ("conv", "last_bn"):
            names[module] = "conv_1" if part == "conv" else "conv_1_bn"
        else:
            prefix = f"expanded_conv_{block}" if block else "expanded_conv"
            names[module] = f"{prefix}_{_inverted_residual_part(part, block > 0, '_bn')}"
    return names


def _numbered(modules: list[str], stem: Mapping[str, str]) -> Iterable[tuple[str, int | None, str]]:
    """Each known module with the number of its block, counted through all stages, and its part there."""
    blocks = list(
        dict.fromkeys(module.rsplit(".", 1)[0] for module in modules if module.startswith("blocks."))
    )
    blocks = list(dict.fromkeys(re.sub(r"\.se$", "", block) for block in blocks))
    lone = {block for block in blocks if f"{block}.conv" in modules}
    for module in modules:
        if module in stem:
            yield module, None, ""
        elif match := re.fullmatch(r"(blocks\.\d+\.\d+)\.(.+)", module):
            block, part = match.groups()
            yield module, blocks.index(block), "last_bn" if block in lone and part == "bn1" else part


def _inverted_residual_part(part: str, expands: bool, norm: str) -> str:
    first = {"conv_pw": "expand", "bn1": f"expand{norm}"} if expands else {}
    rest = (
        {"bn2": f"depthwise{norm}", "conv_pwl": "project", "bn3": f"project{norm}"}
        if expands
        else {"bn1": f"depthwise{norm}", "conv_pw": "project", "bn2": f"project{norm}"}
    )
    gate = {"se.conv_reduce": "squeeze_excite_conv", "se.conv_expand": "squeeze_excite_conv_1"}
    return ({"conv_dw": "depthwise"} | first | rest | gate).get(part, part)


_RENAMED: dict[str, Callable[[list[str]], dict[str, str]]] = {
    "densenet": _densenet,
    "mobilenet_v1": _mobilenet_v1,
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3": _mobilenet_v3,
}


def transplant(network: keras.Model, state: Mapping[str, np.ndarray], *, with_head: bool = True) -> None:
    """Give a network of ``create_network`` the weights of its reference's state dict, all or none of them.

    Convolutions come as (out, in, height, width), dense kernels as (out, in). ``with_head=False`` leaves the
    classifier as it is, for other classes than the weights'.

    Raises WeightsError when a tensor is missing, left over or of another shape.
    """
    spec = get_network(str(network.name))
    tensors = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    modules = [name.rpartition(".")[0] for name in tensors]
    layers = layer_names(spec, modules, [layer.name for layer in network.layers])
    wanted = {
        f"{layer.name}.{variable.name}": variable for layer in network.layers for variable in layer.weights
    }
    found: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        module, _, kind = name.rpartition(".")
        layer = layers.get(module, module)
        target = next((key for key in _variable_names(layer, kind) if key in wanted), None)
        if target is None:
            raise WeightsError(f"{spec.name} has no place for the tensor {name!r}")
        if with_head or layer != HEAD:
            found[target] = _to_keras(value, tuple(wanted[target].shape), name, spec.name)
    kept = set() if with_head else {key for key in wanted if key.startswith(f"{HEAD}.")}
    if missing := wanted.keys() - found.keys() - kept:
        raise WeightsError(
            f"The weights lack {len(missing)} tensors of {spec.name}, {min(missing)!r} among them"
        )
    for target, value in found.items():
        wanted[target].assign(value)


def _variable_names(layer: str, kind: str) -> list[str]:
    names = {
        "weight": ("kernel", "gamma"),
        "bias": ("bias", "beta"),
        "running_mean": ("moving_mean",),
        "running_var": ("moving_variance",),
    }
    return [f"{layer}.{variable}" for variable in names.get(kind, ())]


def _to_keras(value: np.ndarray, shape: tuple[int, ...], name: str, network: str) -> np.ndarray:
    """The tensor in Keras' layout: channels last, inputs before outputs."""
    given = value.shape
    if value.ndim == 4 and len(shape) == 2 and value.shape[2:] == (1, 1):
        value = value[:, :, 0, 0]
    if value.ndim == 4:
        depthwise = shape[3] == 1 and value.shape[1] == 1
        value = value.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    elif value.ndim == 2:
        value = value.T
    if value.shape != shape:
        raise WeightsError(
            f"The tensor {name!r} has the shape {given}; {network} needs {shape}, channels last"
        )
    return value
