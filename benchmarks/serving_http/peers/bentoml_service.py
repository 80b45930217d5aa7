"""BentoML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.serving_http.peers.model import LiteRtModel


@bentoml.service(
    workers=int(os.environ.get("PEER_WORKERS", "1")),
    threads=int(os.environ.get("PEER_THREADS", "2")),
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Classifier:
    def __init__(self) -> None:
        self.model = LiteRtModel()

    @bentoml.api
    def predict(self, file: Path) -> dict[str, Any]:
        return self.model.answer(file.read_bytes())
