"""The networks: architectures as code. The registry is plain data; Keras loads when a network is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.networks.registry import NetworkSpec, get_network, list_networks

if TYPE_CHECKING:
    import keras

__all__ = ["NetworkSpec", "create_network", "get_network", "list_networks"]


def create_network(
    name: str,
    image_size: int | tuple[int, int] | None = None,
    num_classes: int = 1000,
    *,
    preprocessing: bool = True,
    dropout: float | None = None,
) -> keras.Model:
    """Build a network with fresh weights; arguments and errors as in ``app.networks.create``."""
    # Keras takes seconds to import; listing networks must not pay for it.
    from app.networks.create import create_network as create

    return create(name, image_size, num_classes, preprocessing=preprocessing, dropout=dropout)
