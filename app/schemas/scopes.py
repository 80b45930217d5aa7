"""Scopes: what a key may do, and which of them imply others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Scope = Literal["read", "predict", "write", "promote", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
MEANINGS: dict[Scope, str] = {
    "read": "See everything: products, datasets with their images, jobs, models, metrics.",
    "predict": "Ask models about images, and nothing else.",
    "write": "Import, train, evaluate, export, change and delete. Implies `read`.",
    "promote": "Move aliases, such as `champion`, by hand. Implies `read`.",
    "admin": "Manage keys and webhooks, import models of another Loupe, and read what was done by whom. "
    "Implies all other scopes.",
}
IMPLIED: dict[Scope, frozenset[Scope]] = {
    "read": frozenset(),
    "predict": frozenset(),
    "write": frozenset({"read"}),
    "promote": frozenset({"read"}),
    "admin": frozenset(SCOPES),
}


def with_implied(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """The scopes with all that they imply."""
    given = frozenset(scopes)
    return given.union(*(IMPLIED[scope] for scope in given))
