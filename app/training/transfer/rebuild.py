"""A model from its artifact: the network from the registry by its name, the weights as arrays."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras

from app.artifacts import Manifest, weights_sha256
from app.errors import WeightsError
from app.training.export import create_inference_model
from app.training.fit import read_values
from app.training.transfer.arrays import WEIGHTS, read_arrays, read_places, unpack_weights


def rebuild_model(manifest: Manifest, keras_file: Path, scratch: Path) -> keras.Model:
    """The model that the artifact describes, with the weights of its ``model.keras``, to the bit.

    ``scratch``: a folder for files on the way. Raises UnknownNetworkError, ImageSizeError, and WeightsError
    when the file does not hold this network's weights or not those of the manifest.
    """
    temperature = 1.0 if manifest.calibration is None else manifest.calibration.temperature
    model = create_inference_model(
        manifest.network, manifest.image_size, len(manifest.labels), temperature=temperature
    )
    ours, theirs = scratch / f"ours-{WEIGHTS}", scratch / f"theirs-{WEIGHTS}"
    try:
        model.save_weights(f"{ours}")
        unpack_weights(keras_file, theirs, ours.stat().st_size)
        arrays = read_arrays(theirs, read_places(ours))
        with h5py.File(ours, "r+") as file:
            for name, values in arrays.items():
                file[name][...] = values
        model.load_weights(f"{ours}")  # Keras knows which array belongs to which variable.
    finally:
        ours.unlink(missing_ok=True)
        theirs.unlink(missing_ok=True)
    if weights_sha256(read_values(model.weights)) != manifest.weights_sha256:
        raise WeightsError(
            "The weights are not those that the manifest names.",
            hint="The network may have been built otherwise by the Loupe that trained it: ask its version.",
        )
    return model
