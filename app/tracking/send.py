"""Writes a run to an MLflow server. Again gives the same run: what was sent before is found there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.child import Reporter, StopSignal
from app.tracking.spec import RunSpec, SentRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "loupe.key"
MODEL = "model"
"""The folder of the model among the artifacts of a run."""
MOST_METRICS, MOST_PARAMS = 1000, 100
"""In one request, as MLflow limits them."""


def send(spec: RunSpec, _folder: Path, _reporter: Reporter, _stop: StopSignal) -> SentRun:
    """Raises what MLflow raises: MlflowException for its refusals and for a server that does not answer."""
    # Here: it takes a second, and the spec is looked at first.
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(tracking_uri=spec.tracking_uri)
    experiment = _find_experiment(client, spec.experiment)
    run = _find_run(client, experiment, spec)
    # MLflow takes a parameter again with the same value, and a point of a metric once.
    params = [Param(name, value) for name, value in spec.params.items()]
    for begin in range(0, len(params), MOST_PARAMS):
        client.log_batch(run, params=params[begin : begin + MOST_PARAMS])
    metrics = [Metric(point.key, point.value, point.at_ms, point.step) for point in spec.points]
    for begin in range(0, len(metrics), MOST_METRICS):
        client.log_batch(run, metrics=metrics[begin : begin + MOST_METRICS])
    if spec.model is not None:
        client.log_artifacts(run, str(spec.model), MODEL)
    # Last: a run that is not whole stands as running.
    client.set_terminated(run, status=spec.status, end_time=spec.ended_ms)
    return SentRun(experiment_id=experiment, run_id=run)


def _find_experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _find_run(client: MlflowClient, experiment: str, spec: RunSpec) -> str:
    """The run of an attempt to send that broke off, else a new one."""
    found = client.search_runs([experiment], filter_string=f"tags.`{KEY}` = '{spec.key}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {**spec.tags, KEY: spec.key}
    return str(
        client.create_run(experiment, start_time=spec.started_ms, tags=tags, run_name=spec.name).info.run_id
    )
