"""Networks: the registry as clients see it, with their published weights and what they cost in time."""

from __future__ import annotations

from pathlib import Path

from app.errors import NotFoundError, UnknownNetworkError
from app.networks import registry
from app.networks.measured import get_speed, measured_on
from app.networks.pretrained.sources import get_published
from app.schemas.model import Network, NetworkSpeed, NetworkWeights


def list_networks(weights_root: Path) -> list[Network]:
    """All of them; ``weights_root`` is where published weights are kept."""
    return [_to_schema(spec, weights_root) for spec in registry.list_networks()]


def get_network(name: str, weights_root: Path) -> Network:
    """One network; raises NotFoundError, since here the name is the address."""
    try:
        return _to_schema(registry.get_network(name), weights_root)
    except UnknownNetworkError as error:
        raise NotFoundError(error.detail, hint=error.hint, errors=error.errors) from error


def _to_schema(spec: registry.NetworkSpec, weights_root: Path) -> Network:
    published, speed = get_published(spec.name), get_speed(spec.name)
    return Network(
        name=spec.name,
        family=spec.family,
        image_size=spec.image_size,
        min_image_size=spec.min_image_size,
        parameters=spec.parameters,
        macs=spec.macs * 1_000_000,
        bytes=(spec.parameters + spec.statistics) * 4,
        weights=published
        and NetworkWeights(
            source=published.source,
            licence=published.licence,
            top1=published.top1,
            is_here=published.locate(weights_root) is not None,
        ),
        speed=speed
        and NetworkSpeed(training_ms=speed.training_ms, serving_ms=speed.serving_ms, machine=measured_on()),
        paper=spec.paper,
        paper_url=spec.paper_url,
        aliases=list(spec.aliases),
    )
