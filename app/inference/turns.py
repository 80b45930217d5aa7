"""Whose image is next: answers run on as many threads as there are cores, first come, first served.

What is cheap to decode is decoded and answered in one go on such a thread. What may cost much goes through a
decoding process first and takes no thread meanwhile. For one event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.errors import BusyError
from app.host.machine import count_cores
from app.images.cost import is_light, may_be_light
from app.images.decode import DecodedImage, PixelRange, decode_opened
from app.images.decoder_pool import DecoderPool
from app.images.memory_budget import MemoryBudget
from app.images.opening import open_image
from app.images.resize import Fit
from app.inference.predictor import Outcome, Predictor
from app.inference.threads import Turn, TurnThreads

TURN_SECONDS = 10.0
"""How long an image waits for its turn."""
MOST_WAITING = 1000
"""Images that may wait; more could not have their turn in time."""

T = TypeVar("T")
Use = Callable[[DecodedImage, float, float], T]


@dataclass(frozen=True)
class Answer:
    """One image's answer. Times are milliseconds."""

    image: DecodedImage
    sha256: str
    outcome: Outcome
    queue_ms: float
    decode_ms: float
    inference_ms: float


@dataclass(frozen=True)
class Reading:
    """How an image is decoded. ``pixel_range``: which values of 16-bit greyscale become black and white."""

    fit: Fit
    pixel_range: PixelRange | None
    max_pixels: int


@dataclass(frozen=True)
class _Used(Generic[T]):
    result: T


class Turns:
    """Gives each image its turn. ``decode_bytes``: memory that images which cost much may take together."""

    def __init__(self, *, threads: int | None = None, decode_bytes: int) -> None:
        self.width = threads or count_cores()
        self._threads = TurnThreads(self.width)
        self._budget = MemoryBudget(decode_bytes)
        self._decoders: DecoderPool | None = None
        self._waiting = 0
        self._lanes = asyncio.Semaphore(self.width)

    @property
    def waiting(self) -> int:
        """Images that wait or are worked on now."""
        return self._waiting

    @property
    def decoding_bytes(self) -> int:
        """Memory that decoding processes have leave to take now."""
        return self._budget.used

    async def answer(self, predictor: Predictor, data: bytes, *, max_pixels: int) -> Answer:
        """Decodes an encoded image and asks the model. Cancelling drops what has not begun.

        Raises ImageDecodeError, ImageTooLargeError, ArtifactError, and BusyError for what cannot have its
        turn in time.
        """
        reading = Reading(predictor.fit, predictor.pixel_range, max_pixels)
        return await self.read(data, reading, partial(_ask, predictor, data))

    async def read(self, data: bytes, reading: Reading, use: Use[T]) -> T:
        """Decodes an encoded image and returns what ``use`` makes of it, in the same turn where it can.

        ``use`` also gets the milliseconds that waiting and decoding took. Cancelling drops what has not
        begun. Raises ImageDecodeError, ImageTooLargeError, BusyError, and what ``use`` raises.
        """
        with self._counted():
            asked = time.perf_counter()
            used = await self._run(lambda: _use_if_light(data, reading, use, asked))
            if used is not None:
                return used.result
            began = time.perf_counter()
            image = await self._decode(data, reading)
            decode_ms = milliseconds_since(began)
            asked = time.perf_counter()
            return await self._run(lambda: use(image, milliseconds_since(asked), decode_ms))

    async def answer_pixels(
        self, predictor: Predictor, pixels: NDArray[np.uint8] | NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Asks the model about what is its input already. Raises ArtifactError, BusyError."""
        with self._counted():
            return await self._run(lambda: predictor.predict(pixels))

    async def work(self, work: Callable[[], T]) -> T:
        """Has its turn too, for what takes no longer than an image. Raises BusyError and what it raises."""
        with self._counted():
            return await self._run(work)

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[None]:
        """For work that takes memory before it asks for its turn: no more at a time than can be worked on.

        Raises BusyError for what gets no lane in time.
        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._lanes.acquire()
        except TimeoutError:
            raise _busy("It was not this image's turn in time.") from None
        try:
            yield
        finally:
            self._lanes.release()

    async def close(self) -> None:
        self._threads.close()
        if self._decoders is not None:
            await self._decoders.close()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._waiting >= MOST_WAITING:
            raise _busy(f"{MOST_WAITING:,} images wait already.")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _decode(self, data: bytes, reading: Reading) -> DecodedImage:
        if self._decoders is None:
            self._decoders = DecoderPool(processes=self.width, budget=self._budget)
        return await self._decoders.decode(
            data,
            max_pixels=reading.max_pixels,
            pixel_range=reading.pixel_range,
            fit=reading.fit,
            turn_seconds=TURN_SECONDS,
        )

    async def _run(self, work: Callable[[], T]) -> T:
        turn = self._threads.begin(work)
        timer = asyncio.get_running_loop().call_later(TURN_SECONDS, _give_up, turn)
        try:
            return await turn.result
        finally:
            timer.cancel()
            turn.drop()


def milliseconds_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)


def _use_if_light(data: bytes, reading: Reading, use: Use[T], asked: float) -> _Used[T] | None:
    queue_ms = milliseconds_since(asked)
    if data and not may_be_light(data):
        return None
    began = time.perf_counter()
    file = open_image(data, reading.max_pixels)
    if not is_light(file, reading.fit):
        return None
    image = decode_opened(file, data, pixel_range=reading.pixel_range, fit=reading.fit)
    return _Used(use(image, queue_ms, milliseconds_since(began)))


def _ask(predictor: Predictor, data: bytes, image: DecodedImage, queue_ms: float, decode_ms: float) -> Answer:
    began = time.perf_counter()
    outcome = predictor.answer(image.pixels)
    inference_ms = milliseconds_since(began)
    return Answer(image, hashlib.sha256(data).hexdigest(), outcome, queue_ms, decode_ms, inference_ms)


def _give_up(turn: Turn[T]) -> None:
    if turn.drop() and not turn.result.done():
        turn.result.set_exception(_busy("It was not this image's turn in time."))


def _busy(detail: str) -> BusyError:
    return BusyError(detail, hint="Try again in a few seconds, or send fewer requests at once.")
