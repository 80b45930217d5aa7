"""Counts what keys use up a minute or a day: in Redis for all processes, in this one while Redis is away.

The windows slide. Small limits are exact. Of large ones a counter is kept, and of the window before
as much counts as lies within the last minute or day.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.config import Settings
from app.schemas.limits import REQUESTS, Rate

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.5
MOST_CONNECTIONS = 4
MOST_EXACT = 1000
"""An exact window keeps a moment for each unit."""
PAUSE_SECONDS = 5.0
"""After Redis failed to answer, no request waits for it again for so long."""
FRESH_SECONDS = 1.0
"""What is left is asked for so often, and reckoned in between: it is a hint, and costs as much as a hit."""
MOST_KNOWN = 10_000
# `limits` wants an address, and then uses the pool.
UNUSED_URI = "redis://localhost:6379"


@dataclass
class Left:
    """What is left of a limit, and how many seconds until there is more."""

    rate: Rate
    quota: int
    remaining: int
    resets_at: float
    asked_at: float

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.asked_at < FRESH_SECONDS

    @property
    def seconds(self) -> int:
        return max(1, round(self.resets_at - time.time() + 0.5))


class Rates:
    """The counters of all keys. Its methods never fail: where Redis does not answer, this process counts."""

    def __init__(self, settings: Settings) -> None:
        # The one time limit around each question, below, holds for connecting and reading too.
        self._pool = redis.asyncio.ConnectionPool.from_url(
            settings.redis_client_url, socket_timeout=None, retry=Retry(NoBackoff(), 0)
        )
        options: dict[str, Any] = {"connection_pool": self._pool}
        shared = RedisStorage(UNUSED_URI, implementation="redispy", key_prefix="loupe-limits", **options)
        self._shared = _Counters(shared)
        self._own = _Counters(MemoryStorage())
        # Who waits for a connection does not wait for Redis: a burst must not look like a frozen server.
        self._connections = asyncio.Semaphore(MOST_CONNECTIONS)
        self._paused_until = 0.0
        self._is_away = False
        self._left: dict[tuple[str, str, int], Left] = {}

    async def take(self, key_id: str, rate: Rate, quota: int, cost: int = 1) -> tuple[bool, Left]:
        """Takes ``cost`` of what is left of a limit, or nothing where that is too little."""
        item = _item(rate, quota)

        async def hit(counters: _Counters) -> tuple[bool, Left]:
            is_allowed = await counters.of(item).hit(item, key_id, cost=cost)
            known = self._left.get((key_id, rate.name, quota))
            if known is None or not is_allowed or not known.is_fresh:
                return is_allowed, await self._ask(counters, key_id, rate, item)
            known.remaining = max(0, known.remaining - cost)
            return is_allowed, known

        return await self._count(hit)

    async def look(self, key_id: str, rate: Rate, quota: int) -> tuple[bool, Left]:
        """Whether anything is left of a limit; takes nothing. What is just known is not asked for again."""
        item = _item(rate, quota)
        known = self._left.get((key_id, rate.name, quota))
        if known is not None and known.is_fresh and known.remaining > 0:
            return True, known

        async def ask(counters: _Counters) -> tuple[bool, Left]:
            left = await self._ask(counters, key_id, rate, item)
            return left.remaining > 0, left

        return await self._count(ask)

    async def close(self) -> None:
        await self._pool.aclose()

    async def _count(self, ask: Callable[[_Counters], Awaitable[tuple[bool, Left]]]) -> tuple[bool, Left]:
        if not self._is_paused():
            async with self._connections:
                # Others may have found meanwhile that it does not answer.
                if not self._is_paused():
                    if self._is_away:
                        # One request tries; those that come meanwhile do not wait with it.
                        self._paused_until = time.monotonic() + ANSWER_SECONDS
                    try:
                        async with asyncio.timeout(ANSWER_SECONDS):
                            found = await ask(self._shared)
                    except (redis.RedisError, OSError, TimeoutError) as error:
                        self._note_silence(error)
                    else:
                        self._note_answer()
                        return found
        return await ask(self._own)

    def _is_paused(self) -> bool:
        return time.monotonic() < self._paused_until

    async def _ask(self, counters: _Counters, key_id: str, rate: Rate, item: RateLimitItem) -> Left:
        resets_at, remaining = await counters.of(item).get_window_stats(item, key_id)
        left = Left(rate, item.amount, max(0, remaining), resets_at, time.monotonic())
        if len(self._left) >= MOST_KNOWN:
            self._left.clear()
        self._left[key_id, rate.name, item.amount] = left
        return left

    def _note_answer(self) -> None:
        if self._is_away:
            logger.info("limits: Redis answers again and counts for all processes")
        self._is_away = False
        self._paused_until = 0.0

    def _note_silence(self, error: Exception) -> None:
        if not self._is_away:
            logger.warning(
                "limits: Redis does not answer (%s); each process counts by itself meanwhile",
                type(error).__name__,
            )
        self._is_away = True
        self._paused_until = time.monotonic() + PAUSE_SECONDS


class _Counters:
    """One storage, and the two ways to count in it."""

    def __init__(self, storage: MemoryStorage | RedisStorage) -> None:
        self._exact = MovingWindowRateLimiter(storage)
        self._counted = SlidingWindowCounterRateLimiter(storage)

    def of(self, item: RateLimitItem) -> RateLimiter:
        return self._exact if item.amount <= MOST_EXACT else self._counted


def _item(rate: Rate, quota: int) -> RateLimitItem:
    kind = RateLimitItemPerMinute if rate.window_seconds == REQUESTS.window_seconds else RateLimitItemPerDay
    return kind(quota, namespace=rate.name)
