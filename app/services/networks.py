"""Networks: the registry as clients see it."""

from __future__ import annotations

from app.errors import NotFoundError, UnknownNetworkError
from app.networks import registry
from app.schemas.model import Network


def list_networks() -> list[Network]:
    return [_to_schema(spec) for spec in registry.list_networks()]


def get_network(name: str) -> Network:
    """One network; raises NotFoundError, since here the name is the address."""
    try:
        return _to_schema(registry.get_network(name))
    except UnknownNetworkError as error:
        raise NotFoundError(error.detail, hint=error.hint, errors=error.errors) from error


def _to_schema(spec: registry.NetworkSpec) -> Network:
    return Network(
        name=spec.name,
        family=spec.family,
        image_size=spec.image_size,
        min_image_size=spec.min_image_size,
        parameters=spec.parameters,
        macs=spec.macs * 1_000_000,
        paper=spec.paper,
        paper_url=spec.paper_url,
        aliases=list(spec.aliases),
    )
