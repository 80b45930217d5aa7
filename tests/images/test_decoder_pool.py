"""Decoding in processes: the same pixels, and no image costs more than its limit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import psutil
import pytest
from PIL import Image

from app.errors import BusyError, ImageDecodeError, ImageTooLargeError
from app.images.decode import DecodedImage, PixelRange, decode_image
from app.images.decoder_pool import DecoderPool
from app.images.memory_budget import MemoryBudget
from app.images.resize import FIRST_RULE, Fit, rule_for
from tests.images.hostile import flat
from tests.images.test_resize import FORMATS, encode, scene

FIT = Fit(rule_for("stretch"), (48, 64))
MIB = 2**20
T = TypeVar("T")


def with_pool(
    scenario: Callable[[DecoderPool, MemoryBudget], Awaitable[T]],
    *,
    processes: int = 2,
    budget: int = 64 * MIB,
    seconds: float = 5.0,
) -> T:
    async def run() -> T:
        memory = MemoryBudget(budget)
        pool = DecoderPool(processes=processes, budget=memory, seconds=seconds)
        try:
            return await scenario(pool, memory)
        finally:
            await pool.close()
            assert memory.used == 0

    return asyncio.run(run())


async def decode(
    pool: DecoderPool,
    data: bytes,
    *,
    fit: Fit = FIT,
    pixel_range: PixelRange | None = None,
    turn_seconds: float = 30.0,
) -> DecodedImage:
    return await pool.decode(
        data, max_pixels=30_000_000, pixel_range=pixel_range, fit=fit, turn_seconds=turn_seconds
    )


def decoders() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "app.images.decoder" in child.cmdline()]


@pytest.mark.parametrize("fit", [FIT, Fit(FIRST_RULE, (48, 64))], ids=["second rule", "first rule"])
def test_an_image_is_the_same_whether_it_is_decoded_here_or_there(fit: Fit) -> None:
    images = [encode(scene(500, 400), kind, **options) for kind, options in FORMATS]
    images += [encode(scene(500, 400), "JPEG", 6), encode(scene(500, 400).convert("LA"), "PNG")]

    async def scenario(pool: DecoderPool, _: MemoryBudget) -> list[DecodedImage]:
        return [await decode(pool, data, fit=fit) for data in images]

    for data, there in zip(images, with_pool(scenario), strict=True):
        here = decode_image(data, fit=fit)
        np.testing.assert_array_equal(here.pixels, there.pixels)
        assert {**vars(here), "pixels": None} == {**vars(there), "pixels": None}


def test_a_range_of_deep_grey_is_applied_there_too() -> None:
    deep = Image.fromarray(np.linspace(0, 5000, 6400).astype(np.uint16).reshape(80, 80))
    data = encode(deep, "PNG")

    async def scenario(pool: DecoderPool, _: MemoryBudget) -> DecodedImage:
        return await decode(pool, data, pixel_range=(0, 4095))

    there = with_pool(scenario)
    here = decode_image(data, pixel_range=(0, 4095), fit=FIT)
    np.testing.assert_array_equal(here.pixels, there.pixels)
    assert (there.is_clipped, there.largest, there.notes) == (True, 5000, here.notes)


def test_errors_come_back_in_the_same_words_and_the_process_goes_on() -> None:
    bad = [b"", b"no image", flat("PNG", 100)[:200], flat("PNG", 6000), flat("JPEG", 300)[:900]]

    async def scenario(pool: DecoderPool, _: MemoryBudget) -> tuple[list[ImageDecodeError], int]:
        errors = []
        for data in bad:
            with pytest.raises(ImageDecodeError) as caught:
                await decode(pool, data)
            errors.append(caught.value)
        await decode(pool, flat("PNG", 100))
        return errors, len(decoders())

    errors, processes = with_pool(scenario)
    for data, error in zip(bad, errors, strict=True):
        with pytest.raises(ImageDecodeError) as caught:
            decode_image(data, max_pixels=30_000_000)
        assert (type(error), error.as_dict()) == (type(caught.value), caught.value.as_dict())
    assert type(errors[3]) is ImageTooLargeError
    assert processes == 1


def test_an_image_that_takes_too_long_is_ended_and_the_next_one_is_decoded() -> None:
    slow = flat("TIFF", 5400, compression="tiff_lzw")

    async def scenario(pool: DecoderPool, _: MemoryBudget) -> tuple[ImageDecodeError, float]:
        await decode(pool, flat("PNG", 10))
        began = time.monotonic()
        with pytest.raises(ImageDecodeError) as caught:
            await decode(pool, slow)
        seconds = time.monotonic() - began
        await decode(pool, flat("PNG", 10))
        return caught.value, seconds

    error, seconds = with_pool(scenario, budget=512 * MIB, seconds=0.1)
    assert "takes more than 0.1 s to decode" in error.detail
    assert error.hint
    assert seconds < 5


def test_images_wait_for_memory_and_one_that_waits_too_long_is_told_so() -> None:
    large = flat("PNG", 2800)  # of 8 bytes each, its pixels are 60 MiB: two do not fit

    async def scenario(pool: DecoderPool, memory: MemoryBudget) -> int:
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, memory.used)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(decode(pool, large) for _ in range(4)))
        watching.cancel()
        await memory.take(64 * MIB)
        with pytest.raises(BusyError, match="Too many large images"):
            await decode(pool, large, turn_seconds=0.5)
        memory.give_back(64 * MIB)
        await decode(pool, large)
        return most

    assert 0 < with_pool(scenario) <= 64 * MIB


def test_work_that_nobody_waits_for_ends_at_once() -> None:
    slow = flat("TIFF", 5400, compression="tiff_lzw")

    async def scenario(pool: DecoderPool, memory: MemoryBudget) -> None:
        work = asyncio.create_task(decode(pool, slow))
        while memory.used == 0:
            await asyncio.sleep(0.01)
        [process] = decoders()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert memory.used == 0
        process.wait(2)
        await decode(pool, flat("PNG", 10))

    with_pool(scenario, budget=512 * MIB)


def test_a_process_that_is_killed_in_the_middle_costs_one_image_alone() -> None:
    slow = flat("TIFF", 5400, compression="tiff_lzw")

    async def scenario(pool: DecoderPool, memory: MemoryBudget) -> str:
        work = asyncio.create_task(decode(pool, slow))
        while memory.used == 0:
            await asyncio.sleep(0.01)
        decoders()[0].kill()
        with pytest.raises(BusyError) as caught:
            await work
        await decode(pool, flat("PNG", 10))
        return caught.value.detail

    assert "was killed" in with_pool(scenario, budget=512 * MIB)


def test_an_idle_process_that_was_killed_is_no_fault_of_the_next_image() -> None:
    async def scenario(pool: DecoderPool, _: MemoryBudget) -> int:
        await decode(pool, flat("PNG", 10))
        [process] = decoders()
        process.kill()
        await asyncio.sleep(0.3)
        return (await decode(pool, flat("PNG", 10))).width

    assert with_pool(scenario) == 10


def test_a_decoder_cannot_take_more_memory_than_it_was_given() -> None:
    script = (
        "from app.images.memory_limit import limit_memory\n"
        "bytearray(1 << 26); limit_memory(1 << 24); bytearray(1 << 22)\n"
        "try:\n    bytearray(1 << 26)\n"
        "except MemoryError:\n    limit_memory(None); bytearray(1 << 26); print('ok')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "ok\n"


def test_the_processes_end_with_the_pool_and_know_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUPE_API_KEY", "very secret")

    async def scenario(pool: DecoderPool, _: MemoryBudget) -> list[psutil.Process]:
        await asyncio.gather(*(decode(pool, flat("PNG", 500)) for _ in range(6)))
        found = decoders()
        assert all("very secret" not in process.environ().values() for process in found)
        return found

    found = with_pool(scenario)
    assert 1 <= len(found) <= 2
    gone, alive = psutil.wait_procs(found, 5)
    assert (len(gone), alive) == (len(found), [])
