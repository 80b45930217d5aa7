"""The models kept in memory: the least recently used go first, and loading one never holds up the others."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from threading import Lock

from app.artifacts import open_artifact
from app.inference.predictor import Predictor


class ModelCache:
    """Predictors by model id, at most ``max_models`` and ``max_bytes`` of them.

    The model asked for last stays, even when it alone is larger than ``max_bytes``. A model that is dropped
    goes on answering whoever holds it already.
    """

    def __init__(
        self,
        *,
        max_models: int = 8,
        max_bytes: int = 2 * 2**30,
        threads: int = 1,
        interpreters: int | None = None,
    ) -> None:
        self._max_models, self._max_bytes = max_models, max_bytes
        self._threads, self._interpreters = threads, interpreters
        self._models: OrderedDict[str, Future[Predictor]] = OrderedDict()
        self._lock = Lock()

    def get(self, model_id: str, folder: Path, *, digest: str | None = None) -> Predictor:
        """The model's predictor, loaded if need be from its artifact's ``folder``, of that ``digest``.

        Threads that ask for a model while it is loading wait for that load; a failed load fails for all of
        them and is tried anew the next time. Raises ArtifactError.
        """
        with self._lock:
            future = self._models.get(model_id)
            if loads := future is None:
                future = self._models[model_id] = Future()
            self._models.move_to_end(model_id)
        if loads:
            self._load(model_id, folder, digest, future)
        predictor = future.result()
        self._evict(keep=model_id)
        return predictor

    def drop(self, model_id: str) -> None:
        """Forgets a model; unknown ids are fine."""
        with self._lock:
            self._models.pop(model_id, None)

    def loaded(self) -> tuple[str, ...]:
        """Ids of the models in memory, the least recently used first."""
        with self._lock:
            return tuple(model_id for model_id, future in self._models.items() if future.done())

    @property
    def nbytes(self) -> int:
        """Memory of the models that are loaded."""
        with self._lock:
            return sum(future.result().nbytes for future in self._models.values() if future.done())

    def _load(self, model_id: str, folder: Path, digest: str | None, future: Future[Predictor]) -> None:
        try:
            predictor = Predictor(
                open_artifact(folder, digest=digest), threads=self._threads, interpreters=self._interpreters
            )
        except BaseException as error:
            with self._lock:
                if self._models.get(model_id) is future:
                    del self._models[model_id]
            future.set_exception(error)
        else:
            future.set_result(predictor)

    def _evict(self, keep: str) -> None:
        """Runs at every get: interpreters are made when needed, so a model grows after it is loaded."""
        with self._lock:
            sizes = {name: future.result().nbytes for name, future in self._models.items() if future.done()}
            for model_id in [name for name in sizes if name != keep]:
                if len(sizes) <= self._max_models and sum(sizes.values()) <= self._max_bytes:
                    return
                del sizes[model_id], self._models[model_id]
