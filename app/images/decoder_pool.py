"""Processes that decode images which could cost much, so that one image costs no more than its limit.

Started when the first such image comes, ended when none comes for a while: their memory then goes back to the
machine. For one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import BusyError, ImageDecodeError, ImageTooLargeError, LoupeError
from app.images.decode import DecodedImage, PixelRange
from app.images.frames import LENGTHS, MOST_HEAD_BYTES, pack_head
from app.images.memory_budget import MemoryBudget
from app.images.resize import Fit

logger = logging.getLogger(__name__)

DECODE_SECONDS = 5.0
"""Most processor time of one image."""
_WALL_FACTOR = 4
"""A busy machine gives a process only a part of its time; past this it is ended too."""
_START_SECONDS = 60.0
_IDLE_SECONDS = 60.0
_LARGE_BYTES = 200_000_000
"""A process that needed more is not kept: what it freed may not be free for others."""
_PATH = str(Path(__file__).parents[2])


class DecoderPool:
    """Decodes in up to ``processes`` processes, whose images take memory from ``budget``."""

    def __init__(self, *, processes: int, budget: MemoryBudget, seconds: float = DECODE_SECONDS) -> None:
        self._seconds, self._budget = seconds, budget
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[_Decoder] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[int]] = set()

    async def decode(
        self, data: bytes, *, max_pixels: int, pixel_range: PixelRange | None, fit: Fit, turn_seconds: float
    ) -> DecodedImage:
        """Like ``decode_image``. Raises BusyError when it is not this image's turn within ``turn_seconds``,
        ImageDecodeError also for an image that takes too long.

        Cancelling ends the work at once.
        """
        deadline = asyncio.get_running_loop().time() + turn_seconds
        async with _in_time(deadline):
            await self._slots.acquire()
        decoder = None
        try:
            decoder = self._take_idle() or await _Decoder.start()
            head = {
                "seconds": self._seconds,
                "max_pixels": max_pixels,
                "pixel_range": pixel_range,
                "rule": fit.rule.name,
                "size": fit.size,
            }
            image, cost = await self._decode(decoder, head, data, fit, deadline)
        except _GoneError:
            assert decoder is not None
            raise await self._explain(decoder) from None
        except BaseException:
            if decoder is not None and decoder.is_idle:
                self._keep(decoder)
            elif decoder is not None:
                self._end(decoder)
            raise
        else:
            if cost > _LARGE_BYTES:
                self._end(decoder)
            else:
                self._keep(decoder)
            return image
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Ends the processes that are idle, and waits until all have ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._end_idle()
        await asyncio.gather(*self._ending)

    async def _decode(
        self, decoder: _Decoder, head: dict[str, Any], data: bytes, fit: Fit, deadline: float
    ) -> tuple[DecodedImage, int]:
        wall_seconds = _WALL_FACTOR * self._seconds
        answer, _ = await decoder.ask(head, data, seconds=wall_seconds)
        with _understood():
            error = None if "cost" in answer else _as_error(answer)
            # What the process has of the file counts too.
            cost = len(data) + (int(answer["cost"]) if error is None else 0)
        if error is not None:
            decoder.is_idle = True
            raise error
        async with AsyncExitStack() as held:
            async with _in_time(deadline):
                await held.enter_async_context(self._budget.taking(cost))
            most_bytes = fit.size[0] * fit.size[1] * 3
            answer, pixels = await decoder.ask({}, seconds=wall_seconds, most_bytes=most_bytes)
        with _understood():
            error = None if "image" in answer else _as_error(answer)
            image = None if error is not None else _as_image(answer["image"], pixels, fit)
        decoder.is_idle = True
        if image is None:
            assert error is not None
            raise error
        return image, cost

    def _take_idle(self) -> _Decoder | None:
        """One that waits; those that were killed meanwhile, such as for lack of memory, are forgotten."""
        while self._idle:
            decoder = self._idle.pop()
            if decoder.is_running:
                return decoder
            self._end(decoder)
        return None

    async def _explain(self, decoder: _Decoder) -> LoupeError:
        was_too_slow = decoder.was_killed
        code = await decoder.end()
        if code == -signal.SIGPROF or was_too_slow:
            return ImageDecodeError(
                f"the image takes more than {self._seconds:g} s to decode",
                hint="Save the image anew in a usual way, or scale it down.",
            )
        logger.warning("a decoding process ended with the exit code %s", code)
        if code == -signal.SIGKILL and not decoder.was_killed:
            return BusyError(
                "The process that decoded the image was killed, as for lack of memory.",
                hint="Try again in a few seconds, or send smaller images.",
            )
        return ImageDecodeError(
            "the image's decoder fails on it", hint="Save the image anew, as PNG or JPEG for example."
        )

    def _keep(self, decoder: _Decoder) -> None:
        self._idle.append(decoder)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        while self._idle:
            self._end(self._idle.pop())

    def _end(self, decoder: _Decoder) -> None:
        decoder.kill()
        ending = asyncio.ensure_future(decoder.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


class _GoneError(Exception):
    """The process ended, or had to be ended."""


class _Decoder:
    """One process; ``is_idle``: it waits for the next image."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.is_idle = self.was_killed = False

    @classmethod
    async def start(cls) -> _Decoder:
        # Nothing of our own environment: a decoder has no use for keys and passwords.
        environment = {
            name: os.environ[name] for name in ("LANG", "PATH", "VIRTUAL_ENV") if name in os.environ
        }
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "app.images.decoder",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # decoders may write a line a pixel
                env={**environment, "PYTHONPATH": _PATH},
            )
        except OSError as error:
            raise BusyError(
                f"The machine cannot start a process that decodes images: {error.strerror}.",
                hint="Try again in a few seconds.",
            ) from error
        decoder = cls(process)
        try:
            await decoder._read(_START_SECONDS)
        except _GoneError as error:
            raise BusyError(
                "The machine cannot start a process that decodes images.", hint="Try again in a few seconds."
            ) from error
        except BaseException:
            decoder.kill()
            raise
        return decoder

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def ask(
        self, head: dict[str, Any], data: bytes = b"", *, seconds: float, most_bytes: int = 0
    ) -> tuple[dict[str, Any], bytes]:
        """Its answer, whose body has at most ``most_bytes``; raises _GoneError when there is none within
        ``seconds``.
        """
        self.is_idle = False
        assert self._process.stdin is not None
        self._process.stdin.write(pack_head(head, len(data)))
        self._process.stdin.write(data)
        return await self._read(seconds, most_bytes)

    async def _read(self, seconds: float, most_bytes: int = 0) -> tuple[dict[str, Any], bytes]:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            async with asyncio.timeout(seconds):
                head_bytes, body_bytes = LENGTHS.unpack(await stdout.readexactly(LENGTHS.size))
                if head_bytes > MOST_HEAD_BYTES or body_bytes > most_bytes:
                    raise ValueError("a frame that no decoder writes")
                return json.loads(await stdout.readexactly(head_bytes)), await stdout.readexactly(body_bytes)
        except (OSError, EOFError, ValueError) as error:
            # A timeout is an OSError. What has ended by itself says why by its exit status.
            if isinstance(error, TimeoutError):
                self.kill()
            raise _GoneError from error

    def kill(self) -> None:
        self.was_killed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> int:
        """Its exit status or, negative, the signal that ended it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(1):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """Raises _GoneError for an answer that is none: the process is not trusted with another image."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _GoneError from error


def _as_image(about: dict[str, Any], pixels: bytes, fit: Fit) -> DecodedImage:
    about["notes"] = tuple(about["notes"])
    return DecodedImage(np.frombuffer(pixels, np.uint8).reshape(*fit.size, 3), **about)


def _as_error(answer: dict[str, Any]) -> ImageDecodeError:
    if answer.get("out_of_memory"):
        return ImageDecodeError(
            "the image takes more memory to decode than its size explains",
            hint="Save the image anew, as PNG or JPEG for example.",
        )
    error = answer["error"]
    kind = ImageTooLargeError if error["code"] == ImageTooLargeError.code else ImageDecodeError
    return kind(error["detail"], hint=error["hint"])


@contextlib.asynccontextmanager
async def _in_time(deadline: float) -> AsyncIterator[None]:
    """Raises BusyError at the deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise BusyError(
            "Too many large images are being decoded.",
            hint="Try again in a few seconds, or send smaller images.",
        ) from None
