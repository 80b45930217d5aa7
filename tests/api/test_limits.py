"""A key gets what its limits leave, also from many requests at once and while Redis is away or frozen"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.api.rates import ANSWER_SECONDS, Rates
from app.config import Settings
from app.context import AppContext
from app.models import ApiKey, Dataset, Job
from app.schemas.limits import PREDICTIONS, REQUESTS, UPLOADS
from tests.api.keys import FIRST, headers_of, make_headers, make_key
from tests.api.opened import opened
from tests.api.test_problems import assert_problem
from tests.chaos.servers import RedisServer


@pytest.fixture
def keyed(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_key": Settings(api_key="s3cret").api_key})


@pytest.fixture
def client(keyed: Settings) -> Iterator[TestClient]:
    """Without Redis: this process counts."""
    with opened(keyed) as client:
        yield client


def statuses(ask: Callable[[], Any], times: int) -> Counter[int]:
    with ThreadPoolExecutor(times) as pool:
        return Counter(future.result().status_code for future in [pool.submit(ask) for _ in range(times)])


def test_fifty_requests_at_once_against_a_limit_of_ten_are_ten(client: TestClient) -> None:
    headers = make_headers(client, "read", limits={"requests_per_minute": 10})
    assert statuses(lambda: client.get("/jobs", headers=headers), 50) == {200: 10, 429: 40}


def test_each_answer_says_what_is_left_and_a_refusal_when_to_come_again(client: TestClient) -> None:
    headers = make_headers(client, "read", limits={"requests_per_minute": 2})
    for left in (1, 0):
        answer = client.get("/jobs", headers=headers)
        assert answer.headers["ratelimit-policy"] == '"requests";q=2;w=60'
        assert re.fullmatch(rf'"requests";r={left};t=\d+', answer.headers["ratelimit"])
    answer = client.get("/jobs", headers=headers)
    problem = assert_problem(answer, 429)
    assert problem["code"] == "limit_reached"
    assert problem["retryable"] is True
    assert 1 <= int(answer.headers["retry-after"]) <= 120
    assert answer.headers["ratelimit"].startswith('"requests";r=0;')
    metrics = client.get("/metrics", headers=FIRST).text
    assert 'loupe_limit_refusals_total{limit="requests"} 1.0' in metrics
    assert 'loupe_limit_refusals_total{limit="jobs"} 0.0' in metrics


def test_a_sign_in_and_what_a_key_may_not_do_are_requests_too(client: TestClient) -> None:
    context: AppContext = client.app.state.context  # type: ignore[attr-defined]
    for path, body, status in (("/session", None, 201), ("/products", {"id": "no"}, 403)):
        key = make_key(client, "read", limits={"requests_per_minute": 1})
        sent: dict[str, Any] = {
            "json": body or {"key": key["key"]},
            "headers": headers_of(key) if body else {},
        }
        for expected in (status, 429, 429):
            assert client.post(path, **sent).status_code == expected
            client.cookies.clear()
        client.app.state.key_ring.write_uses()  # type: ignore[attr-defined]
        with context.db.read() as session:
            assert session.get_one(ApiKey, key["id"]).last_used_at is not None


def test_without_limits_nothing_is_counted_nor_said(client: TestClient, keyed: Settings) -> None:
    for headers in (FIRST, make_headers(client, "read")):
        assert "ratelimit" not in client.get("/jobs", headers=headers).headers
    with opened(
        keyed.model_copy(update={"api_key": None, "key_requests_per_minute": 1, "home": keyed.home / "x"})
    ) as open_:
        assert [open_.get("/jobs").status_code for _ in range(3)] == [200] * 3


def test_health_checks_and_metrics_are_never_limited(client: TestClient) -> None:
    headers = make_headers(client, "read", limits={"requests_per_minute": 1})
    client.get("/jobs", headers=headers)
    for path in ("/healthz", "/readyz", "/v2/health/ready", "/metrics"):
        assert client.get(path, headers=headers).status_code != 429
    assert_problem(client.get("/jobs", headers=headers), 429)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/networks", "/version"])
def test_pages_and_what_is_in_no_database_count_as_requests(client: TestClient, path: str) -> None:
    headers = make_headers(client, "read", limits={"requests_per_minute": 1})
    assert client.get(path, headers=headers).status_code == 200
    assert_problem(client.get(path, headers=headers), 429)


def test_the_settings_are_the_limits_of_keys_that_state_none(keyed: Settings) -> None:
    with opened(keyed.model_copy(update={"key_requests_per_minute": 3})) as client:
        made = make_key(client, "read")
        assert made["limits"]["requests_per_minute"] is None
        for key, most in ((made, 3), (make_key(client, "read", limits={"requests_per_minute": 5}), 5)):
            answer = client.get("/jobs", headers=headers_of(key))
            assert answer.headers["ratelimit-policy"] == f'"requests";q={most};w=60'
        assert "ratelimit" not in client.get("/jobs", headers=FIRST).headers


def test_limits_are_changed_one_by_one_and_count_at_once(client: TestClient) -> None:
    key = make_key(client, "read", limits={"requests_per_minute": 1, "stored_images": 5})
    client.get("/jobs", headers=headers_of(key))
    assert_problem(client.get("/jobs", headers=headers_of(key)), 429)
    changed = client.patch(
        f"/api-keys/{key['id']}", json={"limits": {"requests_per_minute": None}}, headers=FIRST
    )
    assert changed.json()["limits"]["requests_per_minute"] is None
    assert changed.json()["limits"]["stored_images"] == 5
    assert client.get("/jobs", headers=headers_of(key)).status_code == 200
    for wrong in (0, -1, True, 1.5, "x", 1e400, 2**63):
        answer = client.patch(
            f"/api-keys/{key['id']}",
            content=f'{{"limits": {{"concurrent_jobs": {str(wrong).lower()}}}}}',
            headers={**FIRST, "content-type": "application/json"},
        )
        assert answer.status_code in (400, 422), wrong


def test_images_are_counted_one_by_one_and_before_the_body_is_read(client: TestClient) -> None:
    headers = make_headers(client, "predict", limits={"predictions_per_minute": 3})
    image = {**headers, "content-type": "image/png"}
    files = [("file", (f"{number}.png", b"x")) for number in range(2)]
    assert client.post("/predict?product=p", files=files, headers=headers).status_code == 404
    answer = client.post("/predict?product=p", files=files, headers=headers)
    assert "1 are left, and this request takes 2" in assert_problem(answer, 429)["detail"]
    assert client.post("/predict?product=p", content=b"x", headers=image).status_code == 404
    # Not even a body that is no JSON is looked at.
    json_ = {**headers, "content-type": "application/json"}
    assert_problem(client.post("/predict?product=p", content=b"{", headers=json_), 429)


@pytest.mark.parametrize(("kind", "scope"), [("datasets", "write"), ("models", "admin")])
def test_bytes_of_an_upload_are_counted_as_declared_and_as_they_come(
    client: TestClient, kind: str, scope: str
) -> None:
    client.post("/products", json={"id": "p"}, headers=FIRST)
    key = make_key(client, scope, limits={"upload_bytes_per_day": 3_000_000})
    headers = {**headers_of(key), "content-type": "application/zip"}

    def send(content: Any) -> Any:
        return client.post(f"/products/p/{kind}", content=content, headers=headers)

    sent: list[int] = []

    def chunks(count: int) -> Iterator[bytes]:
        for number in range(count):
            sent.append(number)
            yield bytes(500_000)

    assert_problem(send(bytes(3_000_001)), 429)
    assert send(bytes(1_000_000)).status_code == 202
    assert_problem(send(chunks(20)), 429)
    assert "ratelimit" in send(b"x").headers
    scratch = list(client.app.state.context.storage.scratch.iterdir())  # type: ignore[attr-defined]
    assert sum(one.stat().st_size for one in scratch) < 2_000_000


def test_an_upload_that_is_too_large_for_anybody_takes_nothing_of_the_limit(keyed: Settings) -> None:
    with opened(keyed.model_copy(update={"max_upload_bytes": 1000})) as client:
        client.post("/products", json={"id": "p"}, headers=FIRST).raise_for_status()
        headers = make_headers(client, "write", limits={"upload_bytes_per_day": 3_000_000})
        headers["content-type"] = "application/zip"
        assert_problem(client.post("/products/p/datasets", content=bytes(2_000_000), headers=headers), 413)
        assert (
            '"uploads";r=2999500;'
            in (client.post("/products/p/datasets", content=bytes(500), headers=headers).headers["ratelimit"])
        )


def add_dataset(context: AppContext, key: dict[str, Any], **fields: Any) -> None:
    row = {"id": f"dst_{time.monotonic_ns()}", "product_id": "p", "source": "x", "status": "ready", **fields}
    with context.db.write() as session:
        session.add(Dataset(key_id=key["id"], **row))


def test_two_jobs_at_once_do_not_both_pass_a_limit_of_one(any_database: Settings, tmp_path: Path) -> None:
    settings = any_database.model_copy(
        update={"api_key": Settings(api_key="s3cret").api_key, "dataset_roots": (tmp_path,)}
    )
    with opened(settings) as client:
        client.post("/products", json={"id": "p"}, headers=FIRST)
        headers = make_headers(client, "write", limits={"concurrent_jobs": 1})

        def start() -> Any:
            return client.post("/products/p/datasets", json={"path": str(tmp_path)}, headers=headers)

        assert statuses(start, 8) == {202: 1, 429: 7}
        (job,) = client.get("/jobs", headers=FIRST).json()["data"]
        refused = start()
        assert int(refused.headers["retry-after"]) > 0
        assert "1 jobs queued or running" in assert_problem(refused, 429)["detail"]
        assert client.post(f"/jobs/{job['id']}/cancel", headers=headers).is_success
        assert start().status_code == 202
        assert (
            client.post("/products/p/datasets", json={"path": str(tmp_path)}, headers=FIRST).status_code
            == 202
        )


def test_a_retry_counts_as_a_job_of_who_asks(client: TestClient) -> None:
    context: AppContext = client.app.state.context  # type: ignore[attr-defined]
    client.post("/products", json={"id": "p"}, headers=FIRST)
    key = make_key(client, "write", limits={"concurrent_jobs": 1})
    add_dataset(context, key, id="dst_1")
    with context.db.write() as session:
        for status in ("running", "failed"):
            job = Job(id=f"job_{status}", kind="export", product_id="p", dataset_id="dst_1", status=status)
            job.key_id = key["id"]
            session.add(job)
    assert_problem(client.post("/jobs/job_failed/retry", json={}, headers=headers_of(key)), 429)
    assert client.post("/jobs/job_failed/retry", json={}, headers=FIRST).is_success


def test_images_in_store_are_counted_at_admission(client: TestClient) -> None:
    context: AppContext = client.app.state.context  # type: ignore[attr-defined]
    client.post("/products", json={"id": "p"}, headers=FIRST)
    key = make_key(client, "write", limits={"stored_images": 10})
    headers = {**headers_of(key), "content-type": "application/zip"}
    add_dataset(context, key, items=9)
    assert client.post("/products/p/datasets", content=b"x", headers=headers).status_code == 202
    add_dataset(context, key, items=1)
    problem = assert_problem(client.post("/products/p/datasets", content=b"x", headers=headers), 429)
    assert "10 images" in problem["detail"]
    assert (
        client.post(
            "/products/p/datasets", content=b"x", headers={**FIRST, "content-type": "application/zip"}
        ).status_code
        == 202
    )


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


ASK = """
import asyncio, sys
from app.api.rates import Rates
from app.config import Settings
from app.schemas.limits import REQUESTS

async def ask():
    rates = Rates(Settings(redis_url=sys.argv[1], _env_file=None))
    await rates.look("key_1", REQUESTS, 10)
    print("ready", flush=True)
    sys.stdin.readline()
    taken = await asyncio.gather(*[rates.take("key_1", REQUESTS, 10) for _ in range(25)])
    assert not rates._is_away
    print(sum(is_allowed for is_allowed, _ in taken))

asyncio.run(ask())
"""


@pytest.mark.integration
def test_two_processes_share_one_count_in_redis(redis_server: RedisServer) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", ASK, redis_server.url]
    one: Any
    other: Any
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for process in (one, other):
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            process.stdin.write("\n")
            process.stdin.flush()
        assert sum(int(process.communicate()[0]) for process in (one, other)) == 10


def test_a_frozen_redis_costs_one_short_wait_and_this_process_counts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:  # accepts, and never answers
        settings = Settings(
            home=tmp_path, redis_url=f"redis://127.0.0.1:{frozen.getsockname()[1]}", _env_file=None
        )

        async def ask() -> tuple[int, float, float]:
            rates = Rates(settings)
            began = time.monotonic()
            first = await rates.take("key_1", REQUESTS, 10)
            waited = time.monotonic() - began
            others = [(await rates.take("key_1", REQUESTS, 10))[0] for _ in range(49)]
            return first[0] + sum(others), waited, time.monotonic() - began - waited

        allowed, waited, rest = asyncio.run(ask())
    assert allowed == 10
    assert waited < ANSWER_SECONDS + 0.5
    assert rest < ANSWER_SECONDS


@pytest.mark.integration
def test_redis_counts_again_once_it_is_back(
    settings: Settings, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.rates.PAUSE_SECONDS", 0.2)

    keyed = settings.model_copy(update={"redis_url": redis_server.url})

    async def ask() -> list[bool]:
        rates = Rates(keyed)
        seen = []
        for change in (None, redis_server.freeze, redis_server.thaw):
            if change is not None:
                change()
            await asyncio.sleep(0.5)
            is_allowed, _ = await rates.take("key_1", REQUESTS, 1)
            seen.append(is_allowed)
        assert not rates._is_away
        await rates.close()
        return seen

    # Counted in Redis, then here, then in Redis again.
    assert asyncio.run(ask()) == [True, True, False]


@pytest.mark.integration
def test_what_is_just_known_to_be_left_is_not_asked_for_again(
    settings: Settings, redis_server: RedisServer
) -> None:
    keyed = settings.model_copy(update={"redis_url": redis_server.url})

    async def ask() -> list[tuple[bool, int]]:
        rates = Rates(keyed)
        seen = []
        for _ in range(2):
            await rates.take("key_1", PREDICTIONS, 2)
            with redis_server.client() as redis:
                before = count_scripts(redis)
                is_left, _ = await rates.look("key_1", PREDICTIONS, 2)
                seen.append((is_left, count_scripts(redis) - before))
        await rates.close()
        return seen

    # Where nothing is left, somebody waits for the moment when there is more.
    assert asyncio.run(ask()) == [(True, 0), (False, 1)]


def count_scripts(redis: Redis) -> int:
    return int(redis.info("commandstats")["cmdstat_evalsha"]["calls"])


def test_no_memory_is_left_of_keys_that_are_not_used(
    keyed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.rates.MOST_KNOWN", 10)

    async def ask() -> int:
        rates = Rates(keyed)
        for number in range(100):
            await rates.take(f"key_{number}", UPLOADS, 10)
        return len(rates._left)

    assert asyncio.run(ask()) <= 10
