"""A LiteRT model asked from any number of threads at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from app.errors import ArtifactError
from app.host.machine import count_cores


class Interpreters:
    """A pool of interpreters of one model with one float32 input, and float32 outputs.

    A LiteRT interpreter serves one call at a time: up to ``capacity`` (default: the number of CPUs) are made,
    each when the ones before are busy. ``threads`` is how many threads one of them computes with.
    """

    def __init__(
        self,
        model: bytes,
        name: str,
        input_shape: tuple[int, ...],
        *output_shapes: tuple[int, ...],
        threads: int = 1,
        capacity: int | None = None,
        hint: str,
    ) -> None:
        """Makes the first. Raises ArtifactError, which calls the model ``name`` and gives the ``hint``."""
        self._model, self._name, self._hint = model, name, hint
        self._shapes, self._threads = (input_shape, output_shapes), threads
        self.capacity = capacity or default_interpreters()
        self._idle: LifoQueue[_Interpreter] = LifoQueue()
        self.count, self._lock = 1, Lock()
        self._idle.put(self._create())

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The first row of the first output for a batch of 1, float32 of the shapes given."""
        return self.run_all(batch, 1)[0]

    def run_all(self, batch: NDArray[np.float32], outputs: int) -> list[NDArray[np.float32]]:
        """The first row of each of the first so many outputs."""
        with self.borrow() as interpreter:
            return interpreter.run(batch, outputs)

    @contextmanager
    def borrow(self) -> Iterator[_Interpreter]:
        """An interpreter that nobody else uses in the block."""
        interpreter = self._take()
        try:
            yield interpreter
        finally:
            self._idle.put(interpreter)

    def _take(self) -> _Interpreter:
        # Last in, first out: the interpreter used last has its memory in the CPU's caches.
        try:
            return self._idle.get_nowait()
        except Empty:
            pass
        with self._lock:
            may_create = self.count < self.capacity
            self.count += may_create
        if not may_create:
            return self._idle.get()
        try:
            return self._create()
        except BaseException:
            with self._lock:
                self.count -= 1
            raise

    def _create(self) -> _Interpreter:
        return _Interpreter(self._model, self._name, *self._shapes, self._threads, self._hint)


def default_interpreters() -> int:
    """One for each core that this process may use."""
    return count_cores()


class _Interpreter:
    """Not for several threads at once."""

    def __init__(
        self,
        model: bytes,
        name: str,
        input_shape: tuple[int, ...],
        output_shapes: tuple[tuple[int, ...], ...],
        threads: int,
        hint: str,
    ) -> None:
        try:
            self._litert = Interpreter(model_content=model, num_threads=threads)
            self._litert.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{name} cannot be loaded: {error}", hint=hint) from error

        def find(kind: str, details: list[dict[str, Any]], shapes: tuple[tuple[int, ...], ...]) -> list[int]:
            found = [(tuple(int(side) for side in each["shape"]), each["dtype"].__name__) for each in details]
            if found != [(shape, "float32") for shape in shapes]:
                wanted = " and ".join(map(str, shapes))
                raise ArtifactError(f"{name} has the {kind} {found} instead of {wanted} float32.", hint=hint)
            return [int(each["index"]) for each in details]

        [self._input] = find("input", self._litert.get_input_details(), (input_shape,))
        self._outputs = find("output", self._litert.get_output_details(), output_shapes)

    def run(self, batch: NDArray[np.float32], outputs: int = 1) -> list[NDArray[np.float32]]:
        self._litert.set_tensor(self._input, batch)
        self._litert.invoke()
        # get_tensor copies: the answer outlives the interpreter's next run.
        return [self._litert.get_tensor(index)[0] for index in self._outputs[:outputs]]
