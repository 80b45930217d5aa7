"""Which model answers which question, in memory: no prediction reads the database for a model it knows.

A move of an alias reaches every process within two seconds (``app/changes.py``). A model that is in use is
answered by until the next one is loaded; where that fails, it goes on answering.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import load_only

from app.artifacts import LITERT_MODEL, Artifact, open_artifact
from app.context import AppContext
from app.errors import ArtifactError, BusyError, LoupeError
from app.inference.cache import ModelCache
from app.inference.predictor import Predictor
from app.models import Alias, Product, TrainedModel
from app.services import webhook_events
from app.services.products import promised_error
from app.services.trained_models import ModelChoice, choose_model
from app.storage.home import Storage

logger = logging.getLogger(__name__)

LOAD_SECONDS = 10.0
"""How long a prediction waits for its model."""
MAX_CHOICES = 10_000
ROWS_AT_ONCE = 500
CHOICE_COLUMNS = ("id", "product_id", "version", "digest", "folder")
RECHECK_SECONDS = 10.0
"""A worker of an older release notes no changes."""


class Question(NamedTuple):
    """What a request says of the model it wants, and the products that its key is bound to."""

    product: str | None
    job: str | None
    model: str | None
    seen: frozenset[str] | None = None


@dataclass(frozen=True)
class Asked:
    """A model that is loaded, how it was found, and how long its load was waited for."""

    choice: ModelChoice
    predictor: Predictor
    load_seconds: float = 0.0


class ModelRouter:
    """Finds models for questions. ``refresh`` belongs to the thread that looks for changes."""

    def __init__(self, context: AppContext, cache: ModelCache, pinned: Iterable[str] = ()) -> None:
        """``pinned``: products, or ``product@alias``, whose models are loaded at the start and stay."""
        self._context, self._cache = context, cache
        self._pinned = [Question(name, None, None) for name in pinned]
        self._choices: OrderedDict[Question, ModelChoice] = OrderedDict()
        self._targets: dict[Question, ModelChoice] = {}
        """Where a question is to lead once that model is loaded."""
        self._lock, self._refreshing = threading.Lock(), threading.Lock()
        self._moves: set[Future[None]] = set()
        self._unloadable: set[str] = set()
        self._round = 0
        self._refreshed_at = time.monotonic()

    def peek(self, question: Question) -> Asked | None:
        """The model that ``question`` is for, if it is known and loaded. Waits for nothing."""
        choice = self._choices.get(question)
        predictor = None if choice is None else self._cache.peek(choice.id)
        return None if choice is None or predictor is None else Asked(choice, predictor)

    async def ask(self, context: AppContext, question: Question) -> Asked:
        """The model that ``question`` is for, loaded. While the database is away, the one it led to before.

        Raises what ``choose_model`` and a load raise, and BusyError for a model that takes too long.
        """
        choice = self._choices.get(question)
        if choice is None:
            choice = await asyncio.to_thread(self._look_up, context, question)
        predictor = self._cache.peek(choice.id)
        if predictor is not None:
            return Asked(choice, predictor)
        began = time.perf_counter()
        predictor = await self._wait_for(self._load(choice))
        return Asked(choice, predictor, time.perf_counter() - began)

    def find(self, question: Question) -> ModelChoice | None:
        """Which model would answer, if that is known here."""
        return self._choices.get(question)

    def refresh(self) -> None:
        """Compares what is known here with the database. Raises UnavailableError."""
        with self._refreshing:
            with self._lock:
                self._round += 1
                known = dict(self._choices)
            self._refreshed_at = time.monotonic()
            found, gone = self._read(known)
            for question, new in found.items():
                if new is None:
                    self._forget(question, known[question])
                else:
                    self._move(question, known[question], new, is_gone=known[question].id in gone)
            for question in self._pinned:
                self._load_pinned(question)

    def settle(self) -> None:
        """Waits until the aliases that have moved lead to their new models here, or those fail to load."""
        wait(tuple(self._moves), LOAD_SECONDS)

    def refresh_now_and_then(self) -> None:
        if time.monotonic() - self._refreshed_at >= RECHECK_SECONDS:
            self.refresh()

    def _look_up(self, context: AppContext, question: Question) -> ModelChoice:
        while True:
            before = self._round
            choice = choose_model(context, product=question.product, job=question.job, model=question.model)
            with self._lock:
                # What was read before others were compared may be older than what those learned.
                if self._round == before:
                    self._choices[question] = choice
                    if len(self._choices) > MAX_CHOICES:
                        self._choices.popitem(last=False)
                    return choice

    def _read(
        self, known: Mapping[Question, ModelChoice]
    ) -> tuple[dict[Question, ModelChoice | None], set[str]]:
        """Where each question leads now (None: nowhere that is known), and the known models that are gone."""
        with self._context.db.read() as session:
            rows = session.execute(select(Alias.product_id, Alias.name, Alias.model_id)).all()
            targets = {(product, name): model for product, name, model in rows}
            ids = {
                question: choice.id if choice.alias is None else targets.get((choice.product, choice.alias))
                for question, choice in known.items()
            }
            before = {choice.id for choice in known.values()}
            wanted = sorted(before.union(one for one in ids.values() if one is not None))
            promised = session.execute(select(Product.id, Product.max_error))
            promises = {row.id: row.max_error for row in promised}
            models: dict[str | None, ModelChoice] = {}
            for start in range(0, len(wanted), ROWS_AT_ONCE):
                part = TrainedModel.id.in_(wanted[start : start + ROWS_AT_ONCE])
                columns = load_only(*(getattr(TrainedModel, name) for name in CHOICE_COLUMNS))
                for row in session.scalars(select(TrainedModel).where(part).options(columns)):
                    models[row.id] = ModelChoice.of(row, None, promised_error(promises.get(row.product_id)))
        found = {
            question: replace(models[model], alias=known[question].alias) if model in models else None
            for question, model in ids.items()
        }
        return found, before - models.keys()

    def _forget(self, question: Question, choice: ModelChoice) -> None:
        with self._lock:
            self._targets.pop(question, None)
            if self._choices.get(question) == choice:
                del self._choices[question]
            is_asked = any(other.id == choice.id for other in self._choices.values())
        if not is_asked:
            self._cache.drop(choice.id)

    def _move(self, question: Question, old: ModelChoice, new: ModelChoice, *, is_gone: bool) -> None:
        """Answers by ``new`` from now on, or from when it is loaded if ``old`` is in use and not gone."""
        with self._lock:
            self._targets[question] = new
        if new == old or is_gone or old.id not in self._cache.loaded():
            self._arrive(question, new)
            return
        moved: Future[None] = Future()
        self._moves.add(moved)

        def move(loaded: Future[Predictor]) -> None:
            try:
                if loaded.exception() is None:
                    self._arrive(question, new)
                if (error := self._note_failure(new, loaded)) is not None:
                    self._tell(old, new, error)
            finally:
                self._moves.discard(moved)
                moved.set_result(None)

        self._load(new).add_done_callback(move)

    def _arrive(self, question: Question, new: ModelChoice) -> None:
        with self._lock:
            # The alias may have moved on while this one was being loaded.
            if self._targets.get(question) == new:
                del self._targets[question]
                if question in self._choices:
                    self._choices[question] = new
        self._pin()

    def _load_pinned(self, question: Question) -> None:
        choice = self._choices.get(question)
        if choice is None:
            try:
                choice = self._look_up(self._context, question)
            except LoupeError:
                return  # it has no such model yet
        self._pin()
        self._load(choice).add_done_callback(partial(self._note_failure, choice))

    def _note_failure(self, choice: ModelChoice, loaded: Future[Predictor]) -> BaseException | None:
        """Why a load has failed, in the log too: the first time, and not each time that it is tried again."""
        error = loaded.exception()
        if error is None:
            self._unloadable.discard(choice.id)
        if error is None or choice.id in self._unloadable:
            return None
        self._unloadable.add(choice.id)
        detail = error.detail if isinstance(error, LoupeError) else repr(error)
        logger.error("model %s of %s cannot be loaded: %s", choice.id, choice.product, detail)
        return error

    def _tell(self, old: ModelChoice, new: ModelChoice, error: BaseException) -> None:
        code = error.code if isinstance(error, LoupeError) else "internal"
        try:
            with self._context.db.write() as session:
                webhook_events.model_not_loaded(session, new.product, new.id, answering=old.id, code=code)
        except LoupeError as failed:
            logger.warning("model %s: webhooks are not told: %s", new.id, failed.detail)

    def _pin(self) -> None:
        choices = [self._choices.get(question) for question in self._pinned]
        self._cache.pin({choice.id for choice in choices if choice is not None})

    def _load(self, choice: ModelChoice) -> Future[Predictor]:
        return self._cache.load(choice.id, lambda: _open(self._context.storage, choice))

    @staticmethod
    async def _wait_for(loading: Future[Predictor]) -> Predictor:
        waiting = asyncio.wrap_future(loading)
        # Who waits may leave; the load goes on, and how it ends is nobody's to read then.
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait([waiting], timeout=LOAD_SECONDS)
        if not waiting.done():
            raise BusyError("The model is still being loaded.", hint="Try again in a few seconds.")
        return waiting.result()


def _open(storage: Storage, choice: ModelChoice) -> Artifact:
    """Where the home folder is a cache, a model that is damaged there is downloaded again."""
    folder = storage.absolute(choice.folder)
    storage.remote.download(folder)
    try:
        return _open_served(folder, choice.digest)
    except ArtifactError as error:
        if not storage.remote.download_again(folder):
            raise
        logger.warning("model %s was damaged here and was downloaded again: %s", choice.id, error.detail)
        return _open_served(folder, choice.digest)


def _open_served(folder: Path, digest: str) -> Artifact:
    """What is not needed to answer, such as the model for fine-tuning, is not read."""
    artifact = open_artifact(folder, verify=False, digest=digest)
    artifact.verify(LITERT_MODEL)
    return artifact
