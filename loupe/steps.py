"""A verb as steps: what to ask and how long to wait, apart from how it is sent.

Each verb is a generator that yields ``Ask`` and ``Pause`` and returns its result. ``Loupe`` runs it with a
blocking connection, ``AsyncLoupe`` with one that is awaited: there is one description of each verb.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """One request. ``content``: makes the body anew for each try. ``to``: a file that the answer is written
    to.

    ``is_repeatable``: whether it does no harm twice; only then it is tried again after a lost answer.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Callable[[], Iterator[bytes]] | None = None
    files: tuple[tuple[str, bytes], ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True
    to: Path | None = None


@dataclass(frozen=True)
class Pause:
    seconds: float


Steps = Generator[Ask | Pause, Any, T]
"""Yields requests and pauses, is sent the answers' JSON, returns a ``T``."""
