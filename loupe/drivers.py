"""Running a verb's steps: with a blocking connection, or with one that is awaited."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import httpx2 as httpx

from loupe.http_requests import Address, insist, request_of
from loupe.steps import Ask, Pause, Steps

T = TypeVar("T")


class Driver:
    """One connection, for one thread at a time."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._http = httpx.Client(**address.options())

    def close(self) -> None:
        self._http.close()

    def run(self, steps: Steps[T]) -> T:
        with closing(insist(steps, self.address)) as tries:
            try:
                step = next(tries)
                while True:
                    step = tries.send(self._do(step))
            except StopIteration as ended:
                value: T = ended.value
                return value

    def _do(self, step: Ask | Pause) -> httpx.Response | httpx.TransportError | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._send(step)
        except httpx.TransportError as error:
            return error

    def _send(self, ask: Ask) -> httpx.Response:
        request = request_of(ask)
        if ask.content is not None:
            request["content"] = ask.content()
        if ask.to is None:
            return self._http.request(**request)
        with self._http.stream(**request) as response:
            if not response.is_success:
                response.read()
                return response
            with _Aside(ask.to) as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
        return response


class AsyncDriver:
    """One connection, for one event loop."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._http = httpx.AsyncClient(**address.options())

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        with closing(insist(steps, self.address)) as tries:
            try:
                step = next(tries)
                while True:
                    step = tries.send(await self._do(step))
            except StopIteration as ended:
                value: T = ended.value
                return value

    async def _do(self, step: Ask | Pause) -> httpx.Response | httpx.TransportError | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._send(step)
        except httpx.TransportError as error:
            return error

    async def _send(self, ask: Ask) -> httpx.Response:
        request = request_of(ask)
        if ask.content is not None:
            request["content"] = _read_aside(ask.content())
        if ask.to is None:
            return await self._http.request(**request)
        async with self._http.stream(**request) as response:
            if not response.is_success:
                await response.aread()
                return response
            with _Aside(ask.to) as file:
                async for chunk in response.aiter_bytes():
                    await asyncio.to_thread(file.write, chunk)
        return response


async def _read_aside(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """In a thread: files are read, and images packed, beside the loop."""
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk


class _Aside:
    """A file that has its name once it is whole."""

    def __init__(self, to: Path) -> None:
        self._to, self._aside = to, to.with_name(f".{to.name}.{os.getpid()}.part")

    def __enter__(self) -> Any:
        self._file = self._aside.open("wb")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None:
            self._aside.replace(self._to)
        else:
            self._aside.unlink()
