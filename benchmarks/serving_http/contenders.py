"""Who is measured, each in the configuration that was its best on two cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving_http.loupe import launch_bare, launch_guarded
from benchmarks.serving_http.servers import Launch

PEERS_PYTHON = Path(".venv-peers/bin/python")
CEILING = "ceiling"
"""No server: the bare loop that others are compared with."""
_PEERS = "benchmarks.serving_http.peers"


@dataclass(frozen=True)
class Contender:
    """``launch`` takes the folder of the packaged network, a folder to make, and a port.

    ``is_peer``: a server that others use instead of Loupe; the best of them is what Loupe is compared with.
    """

    name: str
    title: str
    configuration: str
    launch: Callable[[Path, Path, int], Launch]
    is_peer: bool = False


@dataclass(frozen=True)
class _Peer:
    """A module of ``peers/`` that serves, with so many processes and threads in each that infer."""

    module: str
    workers: int = 1
    threads: int = 1

    def launch(self, package: Path, _scratch: Path, port: int) -> Launch:
        command = [str(PEERS_PYTHON), "-m", f"{_PEERS}.{self.module}"]
        return Launch(command, environment=self.environment(package, port))

    def launch_by_bentoml(self, package: Path, scratch: Path, port: int) -> Launch:
        own = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(scratch)}
        return Launch(
            [
                *(str(PEERS_PYTHON), "-m", "bentoml", "serve", f"{_PEERS}.{self.module}"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            environment=self.environment(package, port) | own,
        )

    def environment(self, package: Path, port: int) -> dict[str, str]:
        return {
            "PEER_FOLDER": str(package),
            "PEER_PORT": str(port),
            "PEER_WORKERS": str(self.workers),
            "PEER_THREADS": str(self.threads),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }


CONTENDERS = (
    Contender(
        "loupe",
        "Loupe",
        "as `loupe up` starts it, without a key: no key is asked for and nothing is counted",
        launch_bare,
    ),
    Contender(
        "loupe-guarded",
        "Loupe, keys + limits",
        "a key bound to the product, with limits of requests and predictions a minute, counted in Redis; "
        "Redis is in its memory and core-milliseconds",
        launch_guarded,
    ),
    Contender(
        "savedmodel",
        "FastAPI + SavedModel",
        "uvloop, httptools; TensorFlow with one thread an operation, two threads that call it",
        _Peer("saved_model", threads=2).launch,
        is_peer=True,
    ),
    # Three workers, a second API process and its faster queue made no difference beyond the noise.
    Contender(
        "litserve",
        "LitServe",
        "two workers, no batching",
        _Peer("litserve_server", workers=2).launch,
        is_peer=True,
    ),
    # Two workers with a thread each made none either, and take 90 MB more.
    Contender(
        "bentoml",
        "BentoML",
        "one worker, two threads, no metrics and no access log",
        _Peer("bentoml_service:Classifier", threads=2).launch_by_bentoml,
        is_peer=True,
    ),
    Contender(
        "bare",
        "bare FastAPI",
        "uvloop, httptools, two threads; no look-up, no keys, no limits, no checks of the image",
        _Peer("bare_fastapi", threads=2).launch,
    ),
)
