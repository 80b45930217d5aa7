"""Sends trainings that have ended to the MLflow server of LOUPE_MLFLOW_TRACKING_URI, one at a time."""

from __future__ import annotations

import importlib.util
import logging
import threading

from app.context import AppContext
from app.errors import LoupeError
from app.jobs import mlflow_runs

logger = logging.getLogger(__name__)

ROUND_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
"""After a round that failed: an outage of the database need not be said every few seconds."""


class MlflowThread(threading.Thread):
    """Runs until ``shutdown`` is set; not at all where MLflow is not installed."""

    def __init__(self, context: AppContext, shutdown: threading.Event) -> None:
        super().__init__(name="mlflow", daemon=True)
        self._context = context
        self._shutdown = shutdown

    def run(self) -> None:
        if importlib.util.find_spec("mlflow") is None:
            logger.error(
                "LOUPE_MLFLOW_TRACKING_URI is set, and MLflow is not installed here: "
                "pip install 'loupe-classifier[mlflow]'"
            )
            return
        pause = 0.0
        while not self._shutdown.wait(pause):
            pause = ROUND_SECONDS
            try:
                self._round()
            except LoupeError as error:
                logger.warning("mlflow: %s", error.detail)
                pause = PATIENCE_SECONDS
            except Exception:
                logger.exception("mlflow: a round failed, the next follows")
                pause = PATIENCE_SECONDS

    def _round(self) -> None:
        mlflow_runs.find_ended(self._context)
        while not self._shutdown.is_set() and (claim := mlflow_runs.claim_due(self._context)) is not None:
            mlflow_runs.send(self._context, claim, self._shutdown)
