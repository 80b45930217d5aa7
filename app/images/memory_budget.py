"""A bound on the memory that work in progress takes together. For one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MemoryBudget:
    """Bytes, given out first come, first served. What alone is more than the whole is let in alone.

    Without ``in_order``, what fits passes what does not: nobody waits for others' large ones.
    """

    def __init__(self, total: int, *, in_order: bool = True) -> None:
        self._total, self._in_order = total, in_order
        self._used = 0
        self._waiting: deque[tuple[int, int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return self._used

    def take_now(self, amount: int, *, held: int = 0) -> bool:
        """Takes ``amount`` bytes if they are free, and nobody is to have them before.

        ``held``: what the same work took before.
        """
        if (self._in_order and self._waiting) or not self._fits(amount, held):
            return False
        self._used += amount
        return True

    async def take(self, amount: int, *, held: int = 0) -> None:
        """The same, waiting until they are free."""
        if self.take_now(amount, held=held):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, held, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(amount)
            raise
        finally:
            self._let_in()

    def give_back(self, amount: int) -> None:
        """What was taken before."""
        self._used -= amount
        self._let_in()

    @asynccontextmanager
    async def taking(self, amount: int) -> AsyncIterator[None]:
        """Holds ``amount`` bytes for the length of the block."""
        await self.take(amount)
        try:
            yield
        finally:
            self.give_back(amount)

    def _fits(self, amount: int, held: int) -> bool:
        return self._used + amount <= self._total or self._used == held

    def _let_in(self) -> None:
        for waiting in tuple(self._waiting):
            amount, held, turn = waiting
            if not turn.done():
                if not self._fits(amount, held):
                    if self._in_order:
                        return
                    continue
                self._used += amount
                turn.set_result(None)
            self._waiting.remove(waiting)


class SharedBudget:
    """A budget of which each owner has half at most, and small ones pass large ones that wait: so nobody
    keeps it from all others.

    What alone is more than the half is let in while its owner has nothing else.
    """

    def __init__(self, total: int) -> None:
        self._whole = MemoryBudget(total, in_order=False)
        self._most_each = total // 2
        self._each: dict[str, MemoryBudget] = {}

    def take_now(self, owner: str, amount: int, *, held: int = 0) -> bool:
        """Takes ``amount`` bytes if they are free for ``owner`` and nobody waits."""
        its = self._each.setdefault(owner, MemoryBudget(self._most_each))
        is_taken = its.take_now(amount, held=held)
        if is_taken and not self._whole.take_now(amount, held=held):
            its.give_back(amount)
            is_taken = False
        self._forget_unused(owner)
        return is_taken

    async def take(self, owner: str, amount: int, *, held: int = 0) -> None:
        """Waits until ``amount`` bytes are free for ``owner``. ``held``: what the same work took before."""
        its = self._each.setdefault(owner, MemoryBudget(self._most_each))
        try:
            await its.take(amount, held=held)
            try:
                await self._whole.take(amount, held=held)
            except BaseException:
                its.give_back(amount)
                raise
        finally:
            self._forget_unused(owner)

    def give_back(self, owner: str, amount: int) -> None:
        """What ``owner`` took before."""
        self._whole.give_back(amount)
        self._each[owner].give_back(amount)
        self._forget_unused(owner)

    def _forget_unused(self, owner: str) -> None:
        # Who waits in a share waits for some of it to be given back, so an unused one has nobody waiting.
        if owner in self._each and not self._each[owner].used:
            del self._each[owner]
