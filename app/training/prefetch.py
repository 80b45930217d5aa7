"""Reading the next batches while the current one is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def prefetch(load: Callable[[In], Out], keys: Sequence[In], *, depth: int = 2) -> Generator[Out, None, None]:
    """Yields ``load(key)`` in order, up to ``depth`` of them made ahead in one thread.

    An error of ``load`` is raised where its result would have been yielded.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as executor:
        ahead: deque[Future[Out]] = deque()
        try:
            for key in keys:
                ahead.append(executor.submit(load, key))
                if len(ahead) > depth:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
