"""``GET /metrics``: what Prometheus reads from the API and from a worker, and what the dashboard asks for."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from app import __version__
from app.config import Settings
from app.context import AppContext
from app.errors import LoupeError
from app.jobs import claims
from app.models import JobEvent
from app.models.base import utc_now
from app.services import workers
from app.services.statistics import gather_statistics
from app.workers.runner import JobRunner
from docs.generate import ROOT
from tests.clients import local_client
from tests.conftest import Service, Trained
from tests.pictures import make_picture
from tests.running import TINY, upload_pictures
from tests.services.rows import add_job, change_job
from tests.services.test_workers import last_beat, new_worker
from tests.waiting import wait_for

DASHBOARD = json.loads((ROOT / "docker/grafana/loupe.json").read_text(encoding="utf-8"))
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(client: TestClient) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return parse(answer.text)


def value(samples: Samples, name: str, /, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def test_a_scrape_tells_what_the_database_holds(trained: Trained) -> None:
    samples = scrape(trained.client)
    listed = trained.client.get("/jobs?kind=training&status=succeeded").json()["data"]
    assert value(samples, "loupe_jobs", kind="training", status="succeeded") == len(listed) > 0
    assert value(samples, "loupe_models", product="squares") >= 1
    champion = trained.client.get(f"/models?job={trained.job}").json()["data"][0]["metrics"]["accuracy"][
        "value"
    ]
    assert value(samples, "loupe_champion_accuracy", product="squares") == champion
    ended = {"kind": "training", "status": "succeeded"}
    assert value(samples, "loupe_job_duration_seconds_count", **ended) == len(listed)
    assert value(samples, "loupe_job_duration_seconds_bucket", **ended, le="+Inf") == len(listed)
    assert value(samples, "loupe_database_up") == 1
    assert value(samples, "loupe_redis_up") == 0
    assert ("loupe_jobs", frozenset({("kind", "import"), ("status", "failed")})) in samples
    assert value(samples, "loupe_build_info", version=__version__) == 1
    assert 0 < value(samples, "loupe_disk_free_bytes") <= value(samples, "loupe_disk_bytes")


def test_predictions_are_counted_by_product_and_outcome(trained: Trained) -> None:
    client = trained.client
    picture = ("file", ("a.png", make_picture("red", 1)))

    def counts() -> list[float]:
        samples = scrape(client)
        labels = [("squares", "answered"), ("squares", "undecodable_image"), ("", "not_found")]
        return [
            value(samples, f"loupe_{name}", product=product, outcome=outcome)
            for name in ("predicted_pictures_total", "prediction_seconds_count")
            for product, outcome in labels
        ]

    before = counts()
    broken = ("file", ("b.png", b"no image"))
    for files, product in (([picture] * 3, "squares"), ([picture, broken], "squares"), ([broken], "squares")):
        client.post("/predict", files=files, data={"product": product})
    client.post("/predict", files=[picture], data={"product": "made-up"})
    assert [after - now for after, now in zip(counts(), before, strict=True)] == [4, 2, 1, 2, 1, 1]
    assert value(scrape(client), "loupe_model_cache_bytes") > 0
    assert value(scrape(client), "loupe_model_loads_total", outcome="loaded") >= 1
    stages = {
        stage: value(scrape(client), "loupe_prediction_stage_seconds_count", stage=stage)
        for stage in ("queue", "decode", "inference")
    }
    assert len(set(stages.values())) == 1
    assert stages["decode"] >= 4
    assert not any("made-up" in str(labels) for _, labels in scrape(client))


def test_the_series_of_a_product_end_with_it(context: AppContext) -> None:
    with local_client(context.settings) as client:
        for name in ("gone", "stays"):
            client.post("/products", json={"id": name})
            client.app.state.measurements.predicted(name, 0.1, ["answered"], ["accept"])  # type: ignore[attr-defined]
            client.app.state.measurements.prediction_failed(name, 0.1, "busy", 2)  # type: ignore[attr-defined]
        assert {name for name in ("gone", "stays") if name in client.get("/metrics").text} == {
            "gone",
            "stays",
        }
        assert client.delete("/products/gone").is_success
        text = client.get("/metrics").text
        assert "gone" not in text
        assert 'product="stays"' in text


def test_requests_are_counted_by_template_and_errors_by_code(trained: Trained) -> None:
    client = trained.client

    def count(method: str, route: str, status: str) -> float:
        labels = {"method": method, "route": route, "status": status}
        return value(scrape(client), "loupe_http_request_seconds_count", **labels)

    def errors(code: str) -> float:
        return value(scrape(client), "loupe_http_errors_total", code=code)

    before = count("GET", "/jobs/{job}", "200"), count("GET", "/jobs/{job}", "404"), errors("not_found")
    client.get(f"/jobs/{trained.job}")
    client.get(f"/v1/jobs/{trained.job}")
    client.get("/jobs/nowhere")
    client.get("/no/such/path")
    client.request("BREW", "/no/such/path")
    assert count("GET", "/jobs/{job}", "200") == before[0] + 2
    assert count("GET", "/jobs/{job}", "404") == before[1] + 1
    assert errors("not_found") == before[2] + 3
    assert count("other", "unmatched", "404") >= 1
    text = client.get("/metrics").text
    assert trained.job not in text
    assert "BREW" not in text


def test_a_scraper_that_asks_for_openmetrics_gets_it(trained: Trained) -> None:
    answer = trained.client.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_waiting_running_failing_and_lost_are_measured(any_context: AppContext) -> None:
    lease = any_context.settings.lease_seconds
    add_job(any_context, kind="import")
    running = add_job(any_context)
    claim = claims.claim(any_context, running, "somebody")
    assert claim is not None
    change_job(any_context, running, progress={"images_per_second": 12.5})
    failed = add_job(any_context)
    claim = claims.claim(any_context, failed, "somebody")
    assert claim is not None
    problem = {"code": "not_finite", "detail": "NaN", "retryable": False}
    claims.fail(any_context, claim, problem)
    alive, lost = new_worker("alive"), new_worker("lost", "tasks")
    for worker in (alive, lost):
        workers.beat(any_context, worker)
    last_beat(any_context, lost, lease + 5)

    found = gather_statistics(any_context)
    assert found.jobs == {("import", "queued"): 1, ("training", "running"): 1, ("training", "failed"): 1}
    assert found.failures == {("training", "not_finite"): 1}
    assert list(found.oldest_queued_seconds) == ["tasks"]
    assert 0 <= found.oldest_queued_seconds["tasks"] < 60
    assert 0 <= found.lease_age_seconds["training"] < 30
    assert found.images_per_second == 12.5
    assert found.durations["training", "failed"].count == 1
    assert 0 <= found.durations["training", "failed"].seconds < 30
    assert found.durations["training", "failed"].at_most[-1] == 1
    assert found.workers == {("training", "alive", __version__): 1, ("tasks", "lost", __version__): 1}
    assert found.slots == {"training": 1, "tasks": 0}


def test_a_job_that_was_given_back_waits_since_then(any_context: AppContext) -> None:
    job = add_job(any_context)
    with any_context.db.write() as session:
        session.execute(update(JobEvent).values(created_at=utc_now() - timedelta(hours=3)))
    assert gather_statistics(any_context).oldest_queued_seconds["training"] > 3 * 3600 - 5
    claim = claims.claim(any_context, job, "somebody")
    assert claim is not None
    claims.release(any_context, claim)
    assert gather_statistics(any_context).oldest_queued_seconds["training"] < 60


def test_a_shared_storage_that_fails_is_counted_by_api_and_worker(settings: Settings, tmp_path: Path) -> None:
    missing = settings.model_copy(update={"storage_url": f"file://{tmp_path}/not-mounted"})
    with local_client(missing, raise_server_exceptions=False) as client:
        assert value(scrape(client), "loupe_storage_errors_total") == 0
        assert client.get("/readyz").status_code == 503
        assert value(scrape(client), "loupe_storage_errors_total") == 1
    context = AppContext.open(missing)
    with pytest.raises(LoupeError):
        context.storage.remote.check()
    told = generate_latest(JobRunner(context, threading.Event(), slots=1).metrics.registry).decode()
    assert value(parse(told), "loupe_storage_errors_total") == 1
    context.close()


def assert_the_database_is_missing(settings: Settings) -> None:
    with local_client(settings, raise_server_exceptions=False) as client:
        samples = scrape(client)
    assert samples["loupe_database_up", frozenset()] == 0
    assert not any(name == "loupe_jobs" for name, _ in samples)
    assert value(samples, "loupe_disk_free_bytes") > 0


def test_a_scrape_answers_while_the_database_is_away(settings: Settings) -> None:
    away = {"database_url": "postgresql://nobody@127.0.0.1:1/none"}
    assert_the_database_is_missing(settings.model_copy(update=away))


def test_a_scrape_answers_before_the_database_is_migrated(any_database: Settings) -> None:
    assert_the_database_is_missing(any_database)


def names_of(text: str) -> set[str]:
    """Every series that a scrape may have, those included that have no value yet."""
    names = set()
    for family in text_string_to_metric_families(text):
        names |= {family.name, *(sample.name for sample in family.samples)}
        if family.type == "counter":
            names.add(f"{family.name}_total")
        if family.type == "histogram":
            names |= {f"{family.name}_{suffix}" for suffix in ("bucket", "count", "sum")}
    return names


def expressions(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.integration
def test_every_metric_of_the_dashboard_is_in_a_real_scrape(service: Service) -> None:
    with service.client() as client:
        dataset = upload_pictures(client, "scraped")
        client.get(f"/jobs/{dataset['job']}?wait=60")
        body = {"product": "scraped", "network": "tiny_cnn", "hyperparameters": TINY}
        job = client.post("/jobs", json=body).raise_for_status().json()
        ended = client.get(f"/jobs/{job['id']}?wait=60").json()
        assert ended["status"] == "succeeded", ended
        api = client.get("/metrics").text
    training, tasks = (
        wait_for_attempt(f"http://127.0.0.1:{service.worker_metrics_port + offset}/metrics", kind)
        for offset, kind in ((0, "training"), (1, "import"))
    )
    assert value(parse(training), "loupe_worker_training_steps_total") >= ended["progress"]["steps"]
    assert value(parse(training), "loupe_worker_claims_total", kind="training") >= 1
    assert value(parse(tasks), "loupe_worker_training_steps_total") == 0
    assert value(parse(api), "loupe_workers", queue="training", status="alive", version=__version__) == 1
    assert value(parse(api), "loupe_redis_up") == 1

    known = names_of(api) | names_of(training)
    asked = expressions(DASHBOARD["panels"])
    for expression in asked:
        used = set(re.findall(r"\b(?:loupe|process)_\w+", expression))
        assert used, expression
        assert used <= known, expression
    # And the other way: what is measured is shown.
    shown = " ".join(asked)
    ours = {family.name for text in (api, training) for family in text_string_to_metric_families(text)}
    assert {name for name in ours if name.startswith("loupe_") and name not in shown} == {"loupe_build_info"}


def wait_for_attempt(url: str, kind: str) -> str:
    """The worker's scrape once it counts a success: it does so after the job's end is stored."""

    def scrape() -> str | None:
        text = httpx.get(url).raise_for_status().text
        counted = value(parse(text), "loupe_worker_attempts_total", kind=kind, outcome="succeeded")
        return text if counted else None

    return wait_for(scrape, 30, f"a counted {kind}", every=0.2)


def test_prometheus_looks_where_compose_serves() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    scraped = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    api, own = scraped
    assert api["static_configs"][0]["targets"] == [f"api:{compose['api']['environment']['LOUPE_PORT']}"]
    [discovery] = own["dns_sd_configs"]
    assert discovery["names"] == ["worker", "tasks"]
    for name in discovery["names"]:
        assert compose[name]["environment"]["LOUPE_WORKER_METRICS_PORT"] == discovery["port"]
        assert compose[name]["environment"]["LOUPE_WORKER_METRICS_HOST"] == "0.0.0.0"
