"""BentoML: each worker is a process with its own threads and its own model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bentoml

from benchmarks.serving_http.peers.model import THREADS, WORKERS, LiteRtModel


@bentoml.service(
    workers=WORKERS,
    threads=THREADS,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Classifier:
    def __init__(self) -> None:
        self.model = LiteRtModel()

    @bentoml.api
    def predict(self, file: Path) -> dict[str, Any]:
        return self.model.answer(file.read_bytes())
