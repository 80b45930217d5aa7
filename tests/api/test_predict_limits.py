"""What one prediction may cost: memory, time, and the places that others wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from app.api.body_memory import BodyMemoryMiddleware
from app.api.leaving import ClientGoneError, unless_gone
from app.api.problems import BodyRefusedError
from app.config import Settings
from app.images.memory_budget import SharedBudget
from app.schemas.caller import Caller
from tests.api.keys import FIRST, headers_of, make_key
from tests.api.opened import opened
from tests.conftest import Trained
from tests.images.hostile import flat, with_empty_scans

URL = "/predict?product=squares"
PNG = {"Content-Type": "image/png"}


@pytest.mark.parametrize("kind", ["AVIF", "PNG", "TIFF", "WEBP", "JPEG"])
def test_a_large_image_is_answered_as_a_small_one_of_the_same_colour(trained: Trained, kind: str) -> None:
    small, large = (
        trained.client.post(URL, files={"file": ("a", flat(kind, side))}).json() for side in (40, 2500)
    )
    assert small["top"]["label"] == large["top"]["label"]
    assert large["image"]["width"] == 2500


def test_a_jpeg_of_empty_scans_is_refused_before_it_is_decoded(trained: Trained) -> None:
    answer = trained.client.post(URL, content=with_empty_scans(1000, 2000), headers=PNG)
    assert answer.status_code == 422
    assert "more than 1,600 scans" in answer.json()["detail"]


def test_one_image_of_several_that_costs_too_much_is_one_error(trained: Trained) -> None:
    files = [("file", ("scans.jpg", with_empty_scans(1000, 2000))), ("file", ("fine.avif", flat("AVIF", 60)))]
    answer = trained.client.post(URL, files=files).json()
    assert answer["errors"] == 1
    assert [item["error"] is None for item in answer["results"]] == [False, True]


@pytest.mark.parametrize("seconds", ["0.000001", "1e-9"])
def test_an_answer_that_comes_too_late_for_the_client_is_not_made(trained: Trained, seconds: str) -> None:
    headers = {**PNG, "X-Request-Timeout": seconds}
    answer = trained.client.post(URL, content=flat("PNG", 40), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert answer.headers["Retry-After"]
    assert "X-Request-Timeout" in answer.json()["hint"]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon", "1e400", "3601"])
def test_a_time_that_is_none_is_refused(trained: Trained, seconds: str) -> None:
    headers = {**PNG, "X-Request-Timeout": seconds}
    assert trained.client.post(URL, content=flat("PNG", 40), headers=headers).status_code == 422


def test_a_client_that_waits_long_enough_gets_its_answer(trained: Trained) -> None:
    headers = {**PNG, "X-Request-Timeout": "30"}
    assert trained.client.post(URL, content=flat("PNG", 40), headers=headers).status_code == 200


def test_what_was_too_busy_is_counted_in_the_metrics(trained: Trained) -> None:
    trained.client.post(URL, content=flat("PNG", 40), headers={**PNG, "X-Request-Timeout": "0.000001"})
    assert 'outcome="busy"' in trained.client.get("/metrics").text


def test_work_ends_when_the_client_leaves() -> None:
    ended: list[str] = []

    async def scenario() -> None:
        leave = asyncio.Event()

        async def receive() -> Message:
            await leave.wait()
            return {"type": "http.disconnect"}

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("work")
                raise

        asyncio.get_running_loop().call_later(0.05, leave.set)
        with pytest.raises(ClientGoneError):
            await unless_gone(Request({"type": "http"}, receive), work())
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(scenario(), 5))
    assert ended == ["work"]


def test_a_client_that_stays_gets_the_result_and_the_error() -> None:
    async def receive() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def fail() -> None:
        raise ValueError("no")

    async def scenario() -> None:
        request = Request({"type": "http"}, receive)
        assert await unless_gone(request, asyncio.sleep(0, "done")) == "done"
        with pytest.raises(ValueError, match="no"):
            await unless_gone(request, fail())

    asyncio.run(asyncio.wait_for(scenario(), 5))


def body_of(*parts: int) -> Receive:
    messages: list[Message] = [
        {"type": "http.request", "body": bytes(part), "more_body": index + 1 < len(parts)}
        for index, part in enumerate(parts)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


def ask(
    middleware: BodyMemoryMiddleware,
    receive: Receive,
    kind: str = "image/png",
    *,
    key: str | None = None,
    host: str = "10.0.0.1",
    declared: int | None = None,
) -> Any:
    length = [] if declared is None else [(b"content-length", str(declared).encode())]
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "headers": [(b"content-type", kind.encode()), *length],
        "client": (host, 1),
        "state": {"caller": Caller(key, "the camera", frozenset())},
    }

    async def send(message: Message) -> None:
        raise AssertionError(message)

    return middleware(scope, receive, send)


def test_a_body_that_comes_slowly_keeps_its_memory_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.body_memory.BODY_SECONDS", 0.2)

    async def application(_: Scope, receive: Receive, __: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        # The whole body is there: what is waited for now is that the client leaves, and that may take long.
        await asyncio.sleep(0.4)
        await receive()

    async def receive_slowly() -> Message:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"a", "more_body": True}

    async def scenario() -> None:
        limited = BodyMemoryMiddleware(application, total=1000)
        with pytest.raises(BodyRefusedError) as caught:
            await ask(limited, receive_slowly)
        assert (caught.value.status_code, caught.value.problem.code) == (408, "slow_request")
        await ask(limited, body_of(100, 200))

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_bodies_that_are_too_much_together_wait_and_those_that_wait_too_long_are_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.api.body_memory.WAIT_SECONDS", 0.2)
    received: list[int] = []

    async def scenario() -> None:
        finish = asyncio.Event()

        async def application(_: Scope, receive: Receive, __: Send) -> None:
            total, more = 0, True
            while more:
                message = await receive()
                total += len(message["body"])
                more = message["more_body"]
            received.append(total)
            await finish.wait()

        limited = BodyMemoryMiddleware(application, total=1000)
        first = asyncio.create_task(ask(limited, body_of(400, 400)))
        await asyncio.sleep(0.01)
        with pytest.raises(BodyRefusedError) as caught:
            await ask(limited, body_of(100, 200))
        assert (caught.value.status_code, caught.value.problem.code) == (503, "busy")
        with pytest.raises(BodyRefusedError):
            await ask(limited, body_of(100), "application/json")
        finish.set()
        await first
        await ask(limited, body_of(900, 900, 900))

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert received == [800, 2700]


@pytest.mark.parametrize("is_declared", [True, False])
def test_bodies_that_come_side_by_side_do_not_wait_for_one_another(
    monkeypatch: pytest.MonkeyPatch, is_declared: bool
) -> None:
    """Each holding a part of what all need, none would ever be whole. Of an unknown length some still are."""
    # Of a known length none is refused, however busy the machine is; the others are, when it is over.
    monkeypatch.setattr("app.api.body_memory.WAIT_SECONDS", 10.0 if is_declared else 1.0)

    async def application(_: Scope, receive: Receive, __: Send) -> None:
        while (await receive())["more_body"]:
            await asyncio.sleep(0.01)

    async def scenario() -> list[Any]:
        limited = BodyMemoryMiddleware(application, total=2000)
        declared = 800 if is_declared else None
        bodies = [ask(limited, body_of(*[100] * 8), declared=declared) for _ in range(6)]
        return await asyncio.gather(*bodies, return_exceptions=True)

    outcomes = asyncio.run(asyncio.wait_for(scenario(), 20))
    if is_declared:
        assert outcomes == [None] * 6
    else:
        assert all(one is None or isinstance(one, BodyRefusedError) for one in outcomes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"host": "10.0.0.1"}, {"host": "10.0.0.2"}),
        ({"host": "2001:db8::1"}, {"host": "2001:db8:0:1::1"}),
        ({"key": "key_1"}, {"key": "key_2"}),
        ({"key": "key_1"}, {"key": None}),
    ],
)
def test_one_client_leaves_half_of_the_memory_to_the_others(
    one: dict[str, Any], other: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.body_memory.WAIT_SECONDS", 0.2)

    async def scenario() -> None:
        finish = asyncio.Event()

        async def application(_: Scope, receive: Receive, __: Send) -> None:
            while (await receive())["more_body"]:
                pass
            await finish.wait()

        limited = BodyMemoryMiddleware(application, total=1000)
        holding = [asyncio.create_task(ask(limited, body_of(250), **one)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(BodyRefusedError) as caught:
            await ask(limited, body_of(1), **one)
        assert caught.value.status_code == 503
        others = [asyncio.create_task(ask(limited, body_of(250), **other)) for _ in range(2)]
        await asyncio.sleep(0.01)
        finish.set()
        await asyncio.gather(*holding, *others)

    asyncio.run(asyncio.wait_for(scenario(), 10))


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b"x", "headers": PNG},
        {"files": {"file": b"x"}},
        {"json": {"product": "p", "inputs": [{"b64": "eA=="}]}},
    ],
    ids=["an image", "a form", "JSON"],
)
def test_whichever_way_images_come_their_key_is_known_before_they_take_memory(
    settings: Settings, sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    takers: list[str] = []
    take_now = SharedBudget.take_now

    def take_seen(self: SharedBudget, owner: str, amount: int, *, held: int = 0) -> bool:
        takers.append(owner)
        return take_now(self, owner, amount, held=held)

    monkeypatch.setattr(SharedBudget, "take_now", take_seen)
    with opened(settings.model_copy(update={"api_key": Settings(api_key="s3cret").api_key})) as client:
        key = make_key(client, "predict")
        headers = {**headers_of(key), **sent.get("headers", {})}
        assert client.post("/predict?product=p", **{**sent, "headers": headers}).status_code == 404
        assert (
            client.post("/predict?product=p", **{**sent, "headers": {**headers, **FIRST}}).status_code == 404
        )
    assert set(takers) == {key["id"], "testclient"}
