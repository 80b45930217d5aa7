"""What a body may cost: its limit is that of what the route takes, and who may not send it is told first."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import migrations
from app.api.prediction_routes import PREDICTION_ROUTES
from app.config import Settings
from app.context import AppContext
from app.main import create_app
from tests.api.opened import opened
from tests.api.operations import WITH_BODY, Operation
from tests.api.test_problems import assert_problem

LIMIT = 1000
JSON_BODIES = [operation for operation in WITH_BODY if "application/json" in operation.content]
IN_MEMORY = [operation for operation in JSON_BODIES if operation.path not in PREDICTION_ROUTES]
JSON_TYPES = ("application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json")


@pytest.fixture
def small(settings: Settings) -> Iterator[TestClient]:
    with opened(settings.model_copy(update={"max_json_bytes": LIMIT})) as client:
        client.post("/products", json={"id": "x"}).raise_for_status()
        yield client


@pytest.mark.parametrize("operation", IN_MEMORY, ids=str)
@pytest.mark.parametrize("media_type", JSON_TYPES)
def test_json_has_its_own_limit_on_every_route(
    small: TestClient, operation: Operation, media_type: str
) -> None:
    headers = {"content-type": media_type}
    for prefix in ("", "/v1"):
        for body in (b" " * (LIMIT + 1), iter([b" " * LIMIT, b"{}"])):
            answer = small.request(operation.method, prefix + operation.url, content=body, headers=headers)
            assert_problem(answer, 413)


def test_an_archive_may_still_be_larger(small: TestClient) -> None:
    headers = {"content-type": "application/zip"}
    assert small.post("/products/x/datasets", content=b" " * 9000, headers=headers).status_code == 202
    form = {"file": ("x.zip", b" " * 9000)}
    assert small.post("/products/x/datasets", files=form).status_code == 202
    assert small.post("/products/x/models", content=b" " * 9000, headers=headers).status_code == 202
    assert small.post("/products/x/models", files=form).status_code == 202


def _statuses_without_reading(
    settings: Settings, operation: Operation, media_types: Sequence[str], lengths: Sequence[int] = (500,)
) -> set[int]:
    """The answers to requests whose body nobody may read."""
    app = create_app(settings)
    sent: list[Any] = []

    async def receive() -> Any:
        pytest.fail("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        async with app.router.lifespan_context(app):
            for media_type, length in itertools.product(media_types, lengths):
                headers = {"content-type": media_type, "content-length": str(length)}
                scope = {
                    "type": "http",
                    "method": operation.method,
                    "path": operation.url,
                    "raw_path": operation.url.encode(),
                    "root_path": "",
                    "query_string": b"",
                    "scheme": "http",
                    "client": ("10.0.0.1", 5),
                    "server": ("127.0.0.1", 80),
                    "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
                }
                await app(scope, receive, send)

    with closing(AppContext.open(settings)) as context:
        migrations.upgrade(context.db)
    asyncio.run(ask())
    return {message["status"] for message in sent if message["type"] == "http.response.start"}


@pytest.mark.parametrize("operation", [one for one in WITH_BODY if one.security], ids=str)
def test_the_key_is_asked_for_before_a_body_is_read_or_refused(
    settings: Settings, operation: Operation
) -> None:
    guarded = Settings(home=settings.home, api_key="s3cret", _env_file=None)
    media_types = [media_type.replace("*", "png") for media_type in operation.content]
    assert _statuses_without_reading(guarded, operation, media_types, [500, 2**50]) == {401}


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
def test_type_and_length_are_judged_before_a_body_is_read(settings: Settings, operation: Operation) -> None:
    media_types = ["text/plain", "application/x-www-form-urlencoded"]
    # The clients of the Open Inference Protocol state none.
    media_types += [""] if operation.path not in PREDICTION_ROUTES[1:] else []
    assert _statuses_without_reading(settings, operation, media_types) == {415}
    if operation in JSON_BODIES:
        assert _statuses_without_reading(settings, operation, JSON_TYPES, [2**50]) == {413}
