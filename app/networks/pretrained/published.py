"""How a network gets its published weights: found, fetched, verified, moved in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import WeightsError
from app.host.files import describe, write_aside
from app.networks.pretrained.keras_file import is_keras_file, read_keras_layers, transplant_keras
from app.networks.pretrained.sources import PublishedWeights, get_published
from app.networks.pretrained.state_dict import read_state_dict
from app.networks.pretrained.transplant import transplant
from app.networks.registry import get_network

if TYPE_CHECKING:
    import keras

_BLOCK_BYTES = 2**18


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
            hint=_how_to_get(weights, folder),
        )
    verify(weights, path)
    return weights, path


def _how_to_get(weights: PublishedWeights, folder: Path) -> str:
    """For machines with and without a way to the internet."""
    target = folder / weights.file_name
    if weights.distribution:
        return f"Install the package {weights.distribution}, or put its file {weights.file_name} at {target}."
    return (
        f"Run `loupe weights download {weights.network}`, "
        f"or download {weights.location} elsewhere and put it at {target}."
    )


def verify(weights: PublishedWeights, path: Path) -> str:
    """The file's SHA-256. Raises WeightsError when it is not the published one.

    Where the publisher tells no digest, the one written down when the file came counts.
    """
    digest = describe(path).sha256
    note = digest_note(path)
    expected = weights.sha256 or (note.read_text(encoding="utf-8").split()[0] if note.is_file() else "")
    if not digest.startswith(expected):
        raise WeightsError(
            f"{path} is not the file that was published: its SHA-256 is {digest}, not {expected}…",
            hint="Remove it and get it again.",
        )
    return digest


def download(
    weights: PublishedWeights,
    folder: Path,
    timeout_seconds: float = 60,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Fetch the file into ``folder``, verified before it appears there; one that is there already is kept.

    ``progress`` is told the bytes that came and how many there are, None where the server does not say.
    Raises WeightsError when the network cannot be reached, with what to bring and where to put it.
    """
    path = weights.locate(folder)
    if path is None and weights.distribution:
        raise WeightsError(
            f"The weights of {weights.network} come as a Python package",
            hint=_how_to_get(weights, folder),
        )
    if path is not None:
        verify(weights, path)
        return path
    # Here and not above: API and trainings, which never download, need not wait for it.
    import httpx2 as httpx

    try:
        # The bytes as they are stored: those that were compressed on the way would not be the file's.
        headers = {"Accept-Encoding": "identity"}
        with httpx.stream(
            "GET", weights.location, headers=headers, timeout=timeout_seconds, follow_redirects=True
        ) as answer:
            answer.raise_for_status()
            length = answer.headers.get("Content-Length")
            total = None if length is None else int(length)
            return _keep(weights, folder, answer.iter_raw(_BLOCK_BYTES), total, progress)
    except (httpx.HTTPError, httpx.InvalidURL, ConnectionError) as error:
        raise WeightsError(
            f"{weights.location} cannot be reached: {error}",
            hint=f"Download it on another machine and put it at {folder / weights.file_name}.",
        ) from error


def install(weights: PublishedWeights, source: Path, folder: Path) -> Path:
    """Copy a file that was brought here into ``folder``, verified before it appears there.

    Raises WeightsError when it is not the published file.
    """
    verify(weights, source)
    with source.open("rb") as file:
        return _keep(weights, folder, iter(partial(file.read, _BLOCK_BYTES), b""), source.stat().st_size)


def _keep(
    weights: PublishedWeights,
    folder: Path,
    blocks: Iterable[bytes],
    total: int | None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / weights.file_name
    with write_aside(target, is_shared=True) as aside:
        with aside.open("wb") as file:
            for block in blocks:
                file.write(block)
                if progress is not None:
                    progress(file.tell(), total)
            if total is not None and file.tell() != total:
                raise ConnectionError(f"it ended after {file.tell():,} of {total:,} bytes")
        digest = verify(weights, aside)
        digest_note(target).write_text(f"{digest}  {target.name}\n", encoding="utf-8")
    return target


def digest_note(path: Path) -> Path:
    """Where a file's digest is written down, in the form that ``sha256sum --check`` reads."""
    return path.with_name(f"{path.name}.sha256")


def load_file(network: keras.Model, path: Path, *, with_head: bool = False) -> None:
    """Give a network a published file's weights, the classifier on request.

    The file is torchvision's or timm's (.pth, .safetensors) or keras.applications' (.h5). Nothing in a file
    tells which padding it was trained with. MobileNet and EfficientNet have TensorFlow's here, as timm's
    ``tf_`` weights: torchvision's and timm's others lose accuracy in them.

    Raises WeightsError when the file cannot be read or does not fit.
    """
    if is_keras_file(path):
        transplant_keras(network, read_keras_layers(path), with_head=with_head)
    else:
        transplant(network, read_state_dict(path), with_head=with_head)
