"""The models kept in memory: the least recently used go first, and loading one never holds up the others."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from threading import Lock

from app.artifacts import Artifact
from app.errors import ArtifactError, BusyError
from app.inference.predictor import Predictor, estimate_bytes

FAILED_SECONDS = 1.0
"""For so long a damaged model is not read anew for each who asks for it."""
FETCHES_AT_ONCE = 4
"""Artifacts that are read at a time, maybe from far away. What they become is built one at a time."""

Open = Callable[[], Artifact]


class ModelCache:
    """Predictors by model id, within ``max_bytes``, counted by the most that each may come to take.

    Room is made before a model is built. Alone, a model may be larger than ``max_bytes``. A model that is
    dropped goes on answering whoever holds it already.
    """

    def __init__(
        self, *, max_bytes: int = 2 * 2**30, threads: int = 1, interpreters: int | None = None
    ) -> None:
        self._max_bytes = max_bytes
        self._threads, self._interpreters = threads, interpreters
        self._models: OrderedDict[str, Predictor] = OrderedDict()
        self._loading: dict[str, Future[Predictor]] = {}
        self._failed: dict[str, tuple[float, ArtifactError]] = {}
        self._pinned: frozenset[str] = frozenset()
        self._lock, self._building = Lock(), Lock()
        self._fetching = ThreadPoolExecutor(FETCHES_AT_ONCE, thread_name_prefix="load")
        self.loads = self.failures = self.evictions = 0
        """Since the start."""

    def peek(self, model_id: str) -> Predictor | None:
        """The model's predictor if it is loaded, at once."""
        with self._lock:
            predictor = self._models.get(model_id)
            if predictor is not None:
                self._models.move_to_end(model_id)
            return predictor

    def load(self, model_id: str, open_: Open) -> Future[Predictor]:
        """The model's predictor, loaded if need be from the artifact that ``open_`` opens, by another thread.

        All who ask meanwhile get the same load, and a damaged model's error for a second more. The future
        raises ArtifactError, whatever else ``open_`` does, and BusyError where pinned models leave no room.
        """
        with self._lock:
            loaded = self._models.get(model_id)
            if loaded is not None:
                self._models.move_to_end(model_id)
                future: Future[Predictor] = Future()
                future.set_result(loaded)
                return future
            if model_id in self._loading:
                return self._loading[model_id]
            self._forget_old_failures()
            if model_id in self._failed:
                future = Future()
                # A copy each: the trace of an error grows with each who raises it, and holds what they hold.
                future.set_exception(copy(self._failed[model_id][1]))
                return future
            future = self._loading[model_id] = Future()
            future.set_running_or_notify_cancel()  # nobody who waits for it can end it for the others
        self._fetching.submit(self._load, model_id, open_, future)
        return future

    def pin(self, model_ids: Collection[str]) -> None:
        """From now on these stay once they are loaded, and no others do."""
        with self._lock:
            self._pinned = frozenset(model_ids)

    def drop(self, model_id: str) -> None:
        """Forgets a model; unknown ids are fine."""
        with self._lock:
            self._models.pop(model_id, None)
            self._loading.pop(model_id, None)
            self._failed.pop(model_id, None)

    def loaded(self) -> tuple[str, ...]:
        """Ids of the models in memory, the least recently used first."""
        with self._lock:
            return tuple(self._models)

    @property
    def nbytes(self) -> int:
        """Memory of the models that are loaded."""
        with self._lock:
            return sum(predictor.nbytes for predictor in self._models.values())

    def close(self) -> None:
        self._fetching.shutdown(wait=False, cancel_futures=True)

    def _load(self, model_id: str, open_: Open, future: Future[Predictor]) -> None:
        try:
            artifact = open_()
            # One at a time: so is the room that is made for it, and the others' answers wait for one alone.
            with self._building:
                self._make_room(model_id, estimate_bytes(artifact, self._interpreters))
                predictor = Predictor(artifact, threads=self._threads, interpreters=self._interpreters)
                with self._lock:
                    self.loads += 1
                    if self._loading.get(model_id) is future:
                        del self._loading[model_id]
                        self._models[model_id] = predictor
        except BaseException as error:
            with self._lock:
                self.failures += 1
                if self._loading.get(model_id) is future:
                    del self._loading[model_id]
                    if isinstance(error, ArtifactError):
                        self._failed[model_id] = (time.monotonic(), copy(error))
            future.set_exception(error)
        else:
            future.set_result(predictor)

    def _forget_old_failures(self) -> None:
        now = time.monotonic()
        for model_id in [name for name, (at, _) in self._failed.items() if now - at > FAILED_SECONDS]:
            del self._failed[model_id]

    def _make_room(self, model_id: str, needed: int) -> None:
        with self._lock:
            sizes = {name: predictor.most_bytes for name, predictor in self._models.items()}
            pinned = sum(sizes[name] for name in sizes if name in self._pinned)
            if pinned and pinned + needed > self._max_bytes:
                raise BusyError(
                    f"The pinned models leave no room in memory for model {model_id}.",
                    hint="Raise LOUPE_MODEL_CACHE_BYTES on the server, or name fewer in LOUPE_PINNED.",
                )
            for name in [name for name in sizes if name not in self._pinned]:
                if sum(sizes.values()) + needed <= self._max_bytes:
                    return
                del sizes[name], self._models[name]
                self.evictions += 1
