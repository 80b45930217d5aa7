"""Weights in keras.applications' own files (.h5), for the networks whose graph is taken from there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import WeightsError

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_keras_file(path: Path) -> bool:
    """Whether the file is HDF5 by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE


def read_keras_layers(path: Path) -> list[list[Array]]:
    """The arrays of every layer that has some, in the order of the layers and of Keras' ``layer.weights``.

    Reads a file of weights, or one of a whole model in Keras' older format, whose configuration is not looked
    at. Raises WeightsError when it is neither or is damaged.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            layers = [group[name] for name in _names(group, "layer_names")]
            arrays = [[np.asarray(layer[name]) for name in _names(layer, "weight_names")] for layer in layers]
    # h5py raises what the C library's error looks most like.
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise WeightsError(f"{path.name} is not a readable Keras weights file: {error}") from error
    return [layer for layer in arrays if layer]


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names, which Keras cuts into numbered parts where it is long."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while (part := group.attrs.get(f"{attribute}{len(parts)}")) is not None:
            parts.append(part)
        if not parts:
            raise KeyError(f"it has no {attribute}")
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]


def transplant_keras(network: keras.Model, layers: list[list[Array]], *, with_head: bool) -> None:
    """Give a network of ``create_network`` such a file's weights, all or none, the classifier on request.

    By order, as keras.applications does: the layers' names differ between the ages of its files.
    Raises WeightsError when the number of layers, or the shape of an array, is another.
    """
    targets = [layer for layer in network.layers if layer.weights]
    if len(layers) != len(targets):
        raise WeightsError(
            f"The file has {len(layers)} layers with weights; {network.name} has {len(targets)}"
        )
    pairs: list[tuple[Any, Array]] = []
    for layer, arrays in zip(targets, layers, strict=True):
        if layer is targets[-1] and not with_head:
            continue
        # MobileNet's classifier was a 1 x 1 convolution.
        fitting = [
            array[0, 0] if array.shape[:2] == (1, 1) and layer is targets[-1] else array for array in arrays
        ]
        if [array.shape for array in fitting] != [tuple(variable.shape) for variable in layer.weights]:
            raise WeightsError(
                f"The layer {layer.name} of {network.name} takes {[tuple(v.shape) for v in layer.weights]}, "
                f"not {[array.shape for array in arrays]}"
            )
        pairs += zip(layer.weights, fitting, strict=True)
    for variable, array in pairs:
        variable.assign(array)
