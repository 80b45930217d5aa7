"""Work on many images in a few threads without holding many of them in memory; decoding frees the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")


def ordered_map(
    pool: ThreadPoolExecutor, function: Callable[[Input], Output], inputs: Iterable[Input], *, ahead: int
) -> Iterator[Output]:
    """Like ``pool.map``, but takes at most ``ahead`` inputs before their results are asked for."""
    pending: deque[Future[Output]] = deque()
    try:
        for value in inputs:
            pending.append(pool.submit(function, value))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
