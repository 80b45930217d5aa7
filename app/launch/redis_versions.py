"""Versions of Redis and Valkey: which have a known hole, and which are past their support."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OLDEST = (6, 2)
"""The oldest branch that Loupe runs on."""

# A script that a client sends can run code in the server. The first versions without it, by branch; all later
# branches are without it. https://github.com/redis/redis/security/advisories/GHSA-4789-qfc9-5f9q
LUA_HOLE = "CVE-2025-49844"
MENDED = {
    "Redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "Valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
# As of 2026-03, by the lists of supported versions of both: Redis 8.0 has ended before 7.2 and 7.4.
OLDEST_SUPPORTED = (7, 2)
ENDED = {"Redis": {(8, 0)}, "Valkey": set[tuple[int, int]]()}


@dataclass(frozen=True)
class RedisVersion:
    """Of which kind, ``Redis`` or ``Valkey``, and which three numbers."""

    kind: str
    numbers: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(map(str, self.numbers))}"

    @property
    def branch(self) -> tuple[int, int]:
        return self.numbers[:2]

    @property
    def is_supported(self) -> bool:
        """Whether its makers still mend it, as far as this version of Loupe knows."""
        return self.branch >= OLDEST_SUPPORTED and self.branch not in ENDED[self.kind]

    @property
    def has_lua_hole(self) -> bool:
        """By its number: a distribution may have mended it without changing that."""
        mended = MENDED[self.kind]
        if self.branch in mended:
            return self.numbers[2] < mended[self.branch]
        return self.branch < max(mended)

    @property
    def rank(self) -> tuple[bool, bool, tuple[int, int, int]]:
        """Greater is better: without the hole, then supported, then newer."""
        return not self.has_lua_hole, self.is_supported, self.numbers


def read_version(printed: str) -> RedisVersion | None:
    """From what ``redis-server --version`` prints; None when that is something else."""
    found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", printed)
    if found is None:
        return None
    kind = "Valkey" if "valkey" in printed.lower() else "Redis"
    return RedisVersion(kind, (int(found[1]), int(found[2]), int(found[3])))


def version_of(information: Mapping[str, Any]) -> RedisVersion | None:
    """From the answer to INFO, where Valkey also names a Redis version that it is compatible with."""
    kind = "Valkey" if "valkey_version" in information else "Redis"
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", str(information.get(f"{kind.lower()}_version")))
    if numbers is None:
        return None
    return RedisVersion(kind, (int(numbers[1]), int(numbers[2]), int(numbers[3])))
