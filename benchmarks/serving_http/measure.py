"""One contender on one network: is started, checked, loaded and ended. And the ceiling, without a server."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.serving_http.contenders import CEILING, PEERS_PYTHON, Contender
from benchmarks.serving_http.load import ask, build_requests, busy_seconds, run_load
from benchmarks.serving_http.servers import Memory, Server

WARM_SECONDS = 1.0
_SAME = 1e-3
"""Probabilities closer than this are the same: TensorFlow's kernels round otherwise than LiteRT's."""


@dataclass(frozen=True)
class Case:
    """A row of the table. ``connections`` is 0 where there is no server."""

    network: str
    images: str
    connections: int
    contender: str


@dataclass(frozen=True)
class Figures:
    """``wrong``: images that were answered otherwise than in the bare loop, in the check before.

    ``other_load``: the part of the machine that work took which is neither the server nor the load.
    """

    requests_per_second: float
    p50: float
    p99: float
    memory: Memory
    cpu_ms: float
    failed: int
    wrong: int
    client_cpu_ms: float
    other_load: float


@dataclass(frozen=True)
class Start:
    """Until the first prediction, and the memory right after it. ``first_process_mb`` is RSS."""

    seconds: float
    first_process_mb: float
    memory: Memory
    processes: int


@dataclass(frozen=True)
class ImageSet:
    """Encoded images, and the folder that they lie in."""

    name: str
    folder: Path
    images: Sequence[bytes]

    @classmethod
    def read(cls, name: str, folder: Path) -> ImageSet:
        return cls(name, folder, [path.read_bytes() for path in sorted(folder.glob("*.jpg"))])


def measure_ceiling(
    network: str, package: Path, images: ImageSet, seconds: float
) -> tuple[Case, Figures, list[Any]]:
    """Also what it answers for each image."""
    with _ceiling(package, images) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        expected = json.loads(process.stdout.readline())
        seen = psutil.Process(process.pid)
        before, busy, began = sum(seen.cpu_times()[:2]), busy_seconds(), time.perf_counter()
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
        milliseconds = json.loads(process.stdout.readline())
        elapsed, busy = time.perf_counter() - began, busy_seconds() - busy
        cpu = sum(seen.cpu_times()[:2]) - before
        info = seen.memory_full_info()
    figures = _figures(milliseconds, elapsed, cpu, busy, Memory(info.rss / 1e6, info.pss / 1e6))
    return Case(network, images.name, 0, CEILING), figures, expected


def measure_contender(
    contender: Contender,
    network: str,
    package: Path,
    sets: Sequence[tuple[ImageSet, list[Any]]],
    connections: Sequence[int],
    seconds: float,
) -> tuple[Start, list[tuple[Case, Figures]]]:
    """``sets``: images with what is to be answered for each."""
    measured = []
    with tempfile.TemporaryDirectory() as scratch:
        port = _free_port()
        launch = contender.launch(package, Path(scratch) / "home", port)
        server = Server(launch, port, Path(scratch) / "server.log")
        try:
            first = build_requests(sets[0][0].images[:1], port, launch.path, launch.headers)
            started = server.first_answer(first[0])
            start = Start(started, server.first_process_mb(), server.memory(), server.processes())
            for images, expected in sets:
                requests = build_requests(images.images, port, launch.path, launch.headers)
                wrong = _count_wrong(port, requests, expected)
                for count in connections:
                    load = run_load(
                        port,
                        requests,
                        connections=count,
                        warm_seconds=WARM_SECONDS,
                        seconds=seconds,
                        server_cpu=server.cpu_seconds,
                    )
                    figures = _figures(
                        load.milliseconds,
                        load.seconds,
                        load.server_cpu_seconds,
                        load.machine_cpu_seconds,
                        server.memory(),
                        failed=load.failed,
                        wrong=wrong,
                        client_cpu=load.client_cpu_seconds,
                    )
                    measured.append((Case(network, images.name, count, contender.name), figures))
        finally:
            server.stop()
    return start, measured


def _count_wrong(port: int, requests: Sequence[bytes], expected: list[Any]) -> int:
    """Asks for every image once, which also warms the server up."""
    wrong = 0
    for request, right in zip(requests, expected, strict=True):
        answer = ask(port, request)
        top = answer.json()["top"] if answer.status == 200 else {"label": None, "probability": 0.0}
        is_right = top["label"] == right["label"] and abs(top["probability"] - right["probability"]) < _SAME
        wrong += not is_right
    return wrong


def _figures(
    milliseconds: list[float],
    seconds: float,
    cpu_seconds: float,
    machine_cpu_seconds: float,
    memory: Memory,
    *,
    failed: int = 0,
    wrong: int = 0,
    client_cpu: float = 0.0,
) -> Figures:
    count = len(milliseconds)
    # Of few answers the slowest is as near as one can say.
    cuts = statistics.quantiles(milliseconds, n=100, method="inclusive") if count > 1 else [float("nan")] * 99
    return Figures(
        requests_per_second=count / seconds,
        p50=cuts[49],
        p99=cuts[98],
        memory=memory,
        cpu_ms=1000 * cpu_seconds / max(1, count),
        failed=failed,
        wrong=wrong,
        client_cpu_ms=1000 * client_cpu / max(1, count),
        other_load=(machine_cpu_seconds - cpu_seconds - client_cpu) / (seconds * (os.cpu_count() or 1)),
    )


@contextmanager
def _ceiling(package: Path, images: ImageSet) -> Iterator[subprocess.Popen[str]]:
    command = [str(PEERS_PYTHON), "-m", "benchmarks.serving_http.peers.ceiling"]
    environment = {**os.environ, "PEER_FOLDER": str(package), "PEER_IMAGES": str(images.folder)}
    process = subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
