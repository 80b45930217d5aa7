"""Images made to cost much: memory, time, and everybody else's place."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.tensors import as_json, binary
from tests.attack.conftest import Attacks, Watch
from tests.conftest import Service
from tests.images.hostile import flat, with_empty_scans

pytestmark = [pytest.mark.integration]

URL = "/predict?product=squares"
AT_ONCE = 32
MOST_MIB = 600
PROBE_SECONDS = 5.0


def send(service: Service, image: bytes, times: int) -> tuple[Counter[int], float]:
    """The statuses of as many requests at once, and the seconds of the slowest."""

    def ask(_: int) -> tuple[int, float]:
        began = time.monotonic()
        with service.client() as http:
            answer = http.post(URL, content=image, headers={"Content-Type": "image/png"})
        assert answer.status_code != 503 or answer.headers["Retry-After"]
        return answer.status_code, time.monotonic() - began

    with ThreadPoolExecutor(times) as pool:
        answers = list(pool.map(ask, range(times)))
    return Counter(status for status, _ in answers), max(seconds for _, seconds in answers)


BOMBS = {
    "lossless WebP of 25 megapixels, a few kB": lambda: flat("WEBP", 5000, lossless=True),
    "PNG of 25 megapixels, a few kB": lambda: flat("PNG", 5000),
    "JPEG of 25 megapixels": lambda: flat("JPEG", 5000),
    "progressive JPEG of 25 megapixels": lambda: flat("JPEG", 5000, progressive=True),
    "TIFF of 25 megapixels": lambda: flat("TIFF", 5000, compression="tiff_lzw"),
    "AVIF of 25 megapixels": lambda: flat("AVIF", 5000, speed=10),
    "GIF of 25 megapixels": lambda: flat("GIF", 5000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_many_large_images_at_once_stay_within_the_memory_for_them(
    victim: Service, attacks: Attacks, name: str, request: pytest.FixtureRequest
) -> None:
    times = AT_ONCE if request.config.getoption("--attack") else 6
    image = BOMBS[name]()
    with Watch(victim) as watch:
        statuses, slowest = send(victim, image, times)
    assert set(statuses) <= {200, 503}, statuses
    assert statuses[200] > 0
    assert watch.grown_mib < MOST_MIB
    assert max(watch.slowest.values()) < PROBE_SECONDS, watch.slowest
    assert watch.failed == []
    attacks.held(
        f"{times} predictions at once: {name}",
        f"{MOST_MIB} MiB beyond idle; probes and lists {PROBE_SECONDS:g} s",
        f"{watch.grown_mib:.0f} MiB, {max(watch.slowest.values()):.2f} s; {dict(statuses)}, the slowest in "
        f"{slowest:.1f} s",
    )


SLOW = {
    "JPEG of thousands of empty scans": lambda: with_empty_scans(4900, 8000),
    "JPEG with as many empty scans as are taken": lambda: with_empty_scans(4900, 50),
}


@pytest.mark.parametrize("name", SLOW)
def test_an_image_made_to_keep_a_decoder_busy_holds_up_nobody(
    victim: Service, attacks: Attacks, name: str, request: pytest.FixtureRequest
) -> None:
    times = 40 if request.config.getoption("--attack") else 4
    image = SLOW[name]()
    with Watch(victim) as watch:
        alone_statuses, alone = send(victim, image, 1)
        statuses, _ = send(victim, image, times)
    assert set(statuses | alone_statuses) <= {200, 422, 503}
    assert alone < 15
    assert max(watch.slowest.values()) < PROBE_SECONDS, watch.slowest
    attacks.held(
        f"{times} predictions at once: {name}, {len(image) / 1000:,.0f} kB",
        f"5 s of decoding; probes and lists {PROBE_SECONDS:g} s",
        f"{alone:.2f} s alone; {max(watch.slowest.values()):.2f} s; {dict(statuses)}",
    )


def test_a_small_image_does_not_wait_for_large_ones(victim: Service, attacks: Attacks) -> None:
    small, large = flat("JPEG", 300), flat("WEBP", 5000, lossless=True)
    with ThreadPoolExecutor(1) as pool:
        flood = pool.submit(send, victim, large, 8)
        time.sleep(0.5)
        seconds = [send(victim, small, 1)[1] for _ in range(10) if not flood.done()]
        flood.result()
    assert seconds
    assert max(seconds) < PROBE_SECONDS
    attacks.held(
        "small images while 8 of 25 megapixels are decoded",
        f"{PROBE_SECONDS:g} s",
        f"the slowest of {len(seconds)} in {max(seconds):.2f} s",
    )


def _predict_json() -> dict[str, Any]:
    image = base64.b64encode(flat("BMP", 3700)).decode()
    return {"json": {"product": "squares", "inputs": [{"b64": image}]}}


INFER = "/v2/models/squares/infer"
LARGE: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "JSON": ("/predict", _predict_json),
    "JSON of the protocol": (INFER, lambda: {"json": as_json(flat("BMP", 3700))}),
    "pixels of another size": (
        INFER,
        lambda: binary(bytes(12 * 2**22), [1, 2048, 2048, 3], "pixels", "FP32"),
    ),
}


@pytest.mark.parametrize("kind", LARGE)
def test_large_bodies_hold_up_nobody(
    victim: Service, attacks: Attacks, request: pytest.FixtureRequest, kind: str
) -> None:
    times = 8 if request.config.getoption("--attack") else 2
    path, make = LARGE[kind]
    with victim.client() as http:
        asked = http.build_request("POST", path, **make())
    body, headers = asked.read(), dict(asked.headers)

    def ask(_: int) -> int:
        with victim.client() as http:
            return http.post(path, content=body, headers=headers).status_code

    with Watch(victim) as watch, ThreadPoolExecutor(times) as pool:
        statuses = Counter(pool.map(ask, range(times)))
    assert set(statuses) <= {200 if "JSON" in kind else 422, 503}
    assert watch.grown_mib < MOST_MIB
    assert max(watch.slowest.values()) < PROBE_SECONDS, watch.slowest
    attacks.held(
        f"{times} predictions at once: {kind}, {len(body) / 1e6:.0f} MB",
        f"{MOST_MIB} MiB beyond idle; probes and lists {PROBE_SECONDS:g} s",
        f"{watch.grown_mib:.0f} MiB, {max(watch.slowest.values()):.2f} s; {dict(statuses)}",
    )


def test_the_memory_comes_back_after_a_burst(victim: Service, attacks: Attacks) -> None:
    image = flat("PNG", 1900)
    send(victim, image, 4)
    with Watch(victim) as watch:
        before = watch.bytes()
        for _ in range(3):
            send(victim, image, AT_ONCE)
        grown = (watch.bytes() - before) / 2**20
    assert grown < 100
    attacks.held(f"memory kept after three bursts of {AT_ONCE} images", "100 MiB", f"{grown:.0f} MiB")
