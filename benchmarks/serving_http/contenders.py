"""Who is measured, each in the configuration that was its best on two cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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


def _launch_peer(module: str, package: Path, _scratch: Path, port: int) -> Launch:
    return Launch([str(PEERS_PYTHON), "-m", f"{_PEERS}.{module}"], environment=_environment(package, port))


def _launch_bentoml(package: Path, scratch: Path, port: int) -> Launch:
    serve = ["-m", "bentoml", "serve", f"{_PEERS}.bentoml_service:Classifier"]
    own = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(scratch)}
    return Launch(
        [str(PEERS_PYTHON), *serve, "--host", "127.0.0.1", "--port", str(port)],
        environment=_environment(package, port) | own,
    )


def _environment(package: Path, port: int) -> dict[str, str]:
    return {"PEER_FOLDER": str(package), "PEER_PORT": str(port), "TF_CPP_MIN_LOG_LEVEL": "3"}


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
        partial(_launch_peer, "saved_model"),
        is_peer=True,
    ),
    Contender(
        "litserve",
        "LitServe",
        "two workers, no batching",
        partial(_launch_peer, "litserve_server"),
        is_peer=True,
    ),
    Contender(
        "bentoml",
        "BentoML",
        "one worker, two threads, no metrics and no access log",
        _launch_bentoml,
        is_peer=True,
    ),
    Contender(
        "bare",
        "bare FastAPI",
        "uvloop, httptools, two threads; no look-up, no keys, no limits, no checks of the image",
        partial(_launch_peer, "bare_fastapi"),
    ),
)
