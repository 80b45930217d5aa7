"""Many models on one machine: what loading those that are not in memory costs the others.

``python -m benchmarks.many_models``. A real API has memory for a few of many models, and gets requests at
half the rate that saturates it, for models by Zipf's law. First only the models that fit are asked for, then
all of them, in turns: what is compared is the time of answers whose model was in memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import httpx2 as httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from app.artifacts import open_artifact
from app.config import Settings, environment_of
from app.context import AppContext
from app.inference.predictor import estimate_bytes
from app.migrations import upgrade
from benchmarks.serving import package_network
from benchmarks.serving_http.images import KINDS, make_images
from benchmarks.serving_http.loupe import register

SENDERS = 32
SATURATING = 8
"""Connections that find out how much the server can do."""


@dataclass(frozen=True)
class Seen:
    """One answer. ``milliseconds`` since the moment at which it was due to be asked."""

    status: int
    milliseconds: float
    was_loaded: bool


def main() -> None:
    arguments = _parse_arguments()
    images = make_images(KINDS["110kB"])
    weights = np.arange(1, arguments.models + 1) ** -arguments.exponent
    with tempfile.TemporaryDirectory() as folder, _serving(arguments, Path(folder)) as (url, process):
        products = [f"product-{number}" for number in range(arguments.models)]
        few = products[: arguments.fit]
        rate = _saturate(url, few, images, arguments.seconds) / 2
        rounds: list[tuple[list[Seen], list[Seen]]] = []
        for number in range(arguments.rounds):
            schedule = np.random.default_rng(number)
            pair = []
            for asked in (few, products):
                share = weights[: len(asked)] / weights[: len(asked)].sum()
                chosen = schedule.choice(asked, int(rate * arguments.seconds), p=share)
                pair.append(_send(url, list(chosen), images, rate))
            rounds.append((pair[0], pair[1]))
        memory = process.memory_info().rss
    _print(arguments, rate, rounds, memory)


@contextmanager
def _serving(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    made = folder / "package"
    made.mkdir()
    package_network(arguments.network, arguments.image_size, 10, made)
    with tempfile.TemporaryFile() as log:
        most = arguments.fit * estimate_bytes(open_artifact(made), None)
        settings = Settings(
            home=folder / "home",
            port=arguments.port,
            model_cache_bytes=most,
            log_level="WARNING",
            _env_file=None,
        )
        with closing(AppContext.open(settings)) as context:
            upgrade(context.db)
            for number in range(arguments.models):
                register(context, made, f"product-{number}")
        environment = {**os.environ, **environment_of(settings)}
        command = [sys.executable, "-m", "app.launch.api"]
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
            url = f"http://127.0.0.1:{arguments.port}"
            try:
                _wait_for(url)
                yield url, psutil.Process(process.pid)
            finally:
                process.terminate()


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            httpx.get(f"{url}/healthz")
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError("the API does not start")


def _saturate(url: str, products: Sequence[str], images: Sequence[bytes], seconds: float) -> float:
    """Answers a second of as many connections as keep the server busy, its models in memory."""
    counts = [0] * SATURATING
    end = 0.0

    def ask(sender: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            for product in products:
                _ask(client, product, images[0])
            barrier.wait()
            while time.perf_counter() < end:
                product = products[(sender + counts[sender]) % len(products)]
                _ask(client, product, images[counts[sender] % len(images)])
                counts[sender] += 1

    def begin() -> None:
        nonlocal end
        end = time.perf_counter() + seconds

    barrier = threading.Barrier(SATURATING, action=begin)
    threads = [threading.Thread(target=ask, args=(sender,)) for sender in range(SATURATING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def _send(url: str, products: Sequence[str], images: Sequence[bytes], rate: float) -> list[Seen]:
    """Asks at a steady rate, whether there are answers or not."""
    due: SimpleQueue[tuple[float, str, bytes] | None] = SimpleQueue()
    seen: list[Seen] = []

    def work() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while (one := due.get()) is not None:
                moment, product, image = one
                answer = _ask(client, product, image)
                elapsed = 1000 * (time.perf_counter() - moment)
                was_loaded = "load;" not in answer.headers.get("server-timing", "")
                seen.append(Seen(answer.status_code, elapsed, was_loaded))

    threads = [threading.Thread(target=work) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    for number, product in enumerate(products):
        moment = began + number / rate
        time.sleep(max(0.0, moment - time.perf_counter()))
        due.put((moment, product, images[number % len(images)]))
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    return seen


def _ask(client: httpx.Client, product: str, image: bytes) -> httpx.Response:
    return client.post(
        "/predict", params={"product": product}, files={"file": ("a.jpg", image, "image/jpeg")}
    )


def _print(
    arguments: argparse.Namespace, rate: float, rounds: Sequence[tuple[list[Seen], list[Seen]]], memory: int
) -> None:
    console = Console(width=120)
    console.print(
        f"{arguments.models} models of {arguments.network} in memory for {arguments.fit}; "
        f"{os.cpu_count()} cores; {rate:.0f} requests/s, half of what saturates; "
        f"{arguments.rounds} rounds of {arguments.seconds:g} s; {memory / 2**20:.0f} MiB at the end."
    )
    table = Table("asked for", "answers", "not 200", "loads", "in memory: p50 ms", "p99 ms", "loads: p50 ms")
    names = (f"the {arguments.fit} that fit", f"all {arguments.models}")
    p99s = []
    for index, name in enumerate(names):
        all_seen = [seen for pair in rounds for seen in pair[index]]
        loads = [seen.milliseconds for seen in all_seen if not seen.was_loaded]
        of_rounds = [[one.milliseconds for one in pair[index] if one.was_loaded] for pair in rounds]
        p50, p99 = (float(np.median([np.percentile(one, part) for one in of_rounds])) for part in (50, 99))
        p99s.append(p99)
        table.add_row(
            name,
            str(len(all_seen)),
            str(sum(seen.status != 200 for seen in all_seen)),
            str(len(loads)),
            f"{p50:.1f}",
            f"{p99:.1f}",
            f"{np.median(loads):.1f}" if loads else "-",
        )
    console.print(table)
    console.print(f"p99 of models in memory during loads: {p99s[1] / p99s[0]:.2f} times that without.")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="mobilenet_v2", help="a name that `loupe networks` lists")
    parser.add_argument("--image-size", type=int, help="side in pixels; the network's own if not given")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--fit", type=int, default=10, help="for how many there is memory")
    parser.add_argument("--exponent", type=float, default=1.1, help="of Zipf's law")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one measurement")
    parser.add_argument("--port", type=int, default=8931)
    return parser.parse_args()


if __name__ == "__main__":
    main()
