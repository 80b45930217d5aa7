"""Every number that a client sends has a range; what is outside of it is a 422, never a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas.hyperparameters import Hyperparameters
from app.training.schedule import LearningRateSchedule
from tests.api.operations import OPERATIONS, Operation, resolve
from tests.conftest import Trained
from tests.pictures import make_files, make_zip

DIGITS = "9" * 5000
HOSTILE_JSON = ("1e400", "-1e400", "NaN", "Infinity", '"NaN"', "-1", str(2**63), "1e308", DIGITS)
HOSTILE_TEXT = ("1e400", "NaN", "inf", "-1", str(2**63), "1e308", DIGITS, "true", "١", "²")
PICTURE = next(iter(make_files(1).values()))
BODIES = {
    "/predict": (PICTURE, "image/png"),
    "/datasets/{dataset}/similar": (PICTURE, "image/png"),
    "/products/{product}/datasets": (make_zip(make_files(1)), "application/zip"),
    "/predictions": (make_zip(make_files(1)), "application/zip"),
}
"""What a route needs beside its query."""


@dataclass(frozen=True)
class Number:
    """A number somewhere in a request. ``path``: the keys that lead to it from the top of the body."""

    operation: Operation
    place: str
    path: tuple[str, ...]
    schema: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.operation} {self.place} {'/'.join(self.path)}"


def _numbers_in(
    schema: dict[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    schema = resolve(schema)
    if schema.get("type") in ("integer", "number"):
        yield path, schema
    for member in (*schema.get("anyOf", ()), *schema.get("allOf", ()), *schema.get("oneOf", ())):
        yield from _numbers_in(member, path)
    for name, field in schema.get("properties", {}).items():
        yield from _numbers_in(field, (*path, name))
    if isinstance(values := schema.get("additionalProperties"), dict):
        yield from _numbers_in(values, (*path, "red"))
    for item in (*schema.get("prefixItems", ()), *([schema["items"]] if "items" in schema else ())):
        yield from _numbers_in(item, (*path, "[0]"))


def _all_numbers() -> Iterator[Number]:
    for operation in OPERATIONS:
        for parameter in operation.parameters:
            for path, schema in _numbers_in(parameter["schema"], (parameter["name"],)):
                yield Number(operation, parameter["in"], path, schema)
        for media_type, content in operation.content.items():
            for path, schema in _numbers_in(content["schema"], ()):
                yield Number(operation, media_type, path, schema)


NUMBERS = list({str(number): number for number in _all_numbers()}.values())
IN_QUERY = [number for number in NUMBERS if number.place == "query"]
IN_JSON = [number for number in NUMBERS if number.place == "application/json"]
IN_FORM = [number for number in NUMBERS if number.place == "multipart/form-data"]


def test_the_walk_finds_every_kind_of_number() -> None:
    assert {number.place for number in NUMBERS} == {
        "query",
        "header",
        "application/json",
        "multipart/form-data",
    }
    found = {"/".join(number.path) for number in NUMBERS}
    assert {"limit", "top_k", "hyperparameters/class_weights/red", "hyperparameters/image_size/[0]"} <= found
    assert {"hyperparameters/early_stopping/min_delta", "split/train", "gate/min_accuracy"} <= found


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_the_document_tells_the_range(number: Number) -> None:
    assert {"minimum", "exclusiveMinimum"} & number.schema.keys()
    assert {"maximum", "exclusiveMaximum"} & number.schema.keys()


def _url(trained: Trained, operation: Operation) -> str:
    (model,) = trained.client.get(f"/models?job={trained.job}").json()["data"]
    known = {"product": trained.product, "job": trained.job, "dataset": trained.dataset, "model": model["id"]}
    known["name"] = "training_result.log" if "/logs/" in operation.path else "champion"
    url = operation.path
    for name, value in known.items():
        url = url.replace(f"{{{name}}}", value)
    return url


def _body(path: tuple[str, ...], value: str) -> str:
    if not path:
        return value
    inner = _body(path[1:], value)
    return f"[{inner}, 16]" if path[0] == "[0]" else f"{{{json.dumps(path[0])}: {inner}}}"


def _whole_body(trained: Trained, number: Number, value: str) -> bytes:
    """The body with what its route needs besides, so that the number alone can be wrong."""
    needed = {
        "/jobs": {"product": trained.product},
        "/products": {"id": "numbers"},
        "/predict": {"inputs": [{"b64": "aaaa"}], "product": trained.product},
        "/datasets/{dataset}/exports": {"format": "tfrecord"},
    }.get(number.operation.path, {})
    rest = json.dumps(needed)[1:-1]
    own = _body(number.path, value)[1:-1]
    return f"{{{rest}{', ' if rest else ''}{own}}}".encode()


def _refused(answer: Any) -> bool:
    return answer.status_code in (400, 422) and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("number", IN_JSON, ids=str)
def test_a_number_out_of_range_in_json_is_refused(trained: Trained, number: Number) -> None:
    for value in (*HOSTILE_JSON, "true", "false"):
        answer = trained.client.request(
            number.operation.method,
            _url(trained, number.operation),
            content=_whole_body(trained, number, value),
            headers={"content-type": "application/json"},
        )
        assert _refused(answer), (value[:20], answer.status_code, answer.text[:300])


@pytest.mark.parametrize("number", IN_QUERY, ids=str)
def test_a_number_out_of_range_in_the_query_is_refused(trained: Trained, number: Number) -> None:
    for value in HOSTILE_TEXT:
        options: dict[str, Any] = {}
        if (body := BODIES.get(number.operation.path)) is not None and number.operation.method == "POST":
            options = {"content": body[0], "headers": {"content-type": body[1]}}
        answer = trained.client.request(
            number.operation.method,
            _url(trained, number.operation),
            params={number.path[0]: value},
            **options,
        )
        assert _refused(answer), (value[:20], answer.status_code, answer.text[:300])


@pytest.mark.parametrize("number", IN_FORM, ids=str)
def test_a_number_out_of_range_in_a_form_is_refused(trained: Trained, number: Number) -> None:
    for value in HOSTILE_TEXT:
        answer = trained.client.request(
            number.operation.method,
            _url(trained, number.operation),
            data={number.path[0]: value, "product": trained.product},
            files={"file": ("red.png", PICTURE)},
        )
        assert _refused(answer), (value[:20], answer.status_code, answer.text[:300])


@pytest.mark.parametrize("version", ["2147483648", str(2**63), "9" * 300, "9" * 5000, "²", "-1", "1e400"])
def test_a_version_that_no_model_can_have_is_answered(trained: Trained, version: str) -> None:
    for query in (f"product=squares@{version}", f"model={version}", f"job={version}"):
        answer = trained.client.post(
            f"/predict?{query}", content=PICTURE, headers={"content-type": "image/png"}
        )
        assert answer.status_code in (404, 409, 422), answer.text[:300]


def test_numbers_as_text_are_still_read(trained: Trained) -> None:
    body = {"product": trained.product, "hyperparameters": {"epochs": "3", "warmup_epochs": "0.5"}}
    settings = trained.client.post("/jobs?dry_run=true", json=body).json()["hyperparameters"]
    assert (settings["epochs"], settings["warmup_epochs"]) == (3, 0.5)


def _accepted(name: str) -> st.SearchStrategy[float]:
    field = Hyperparameters.model_json_schema()["properties"][name]
    return st.floats(field["minimum"], field["maximum"])


@given(
    warmup=_accepted("warmup_epochs"),
    decay=_accepted("decay_epochs"),
    kind=st.sampled_from(["constant", "cosine", "step", "exponential"]),
    step=st.integers(1, 10_000),
)
def test_every_schedule_that_is_accepted_gives_a_rate(
    warmup: float, decay: float, kind: Any, step: int
) -> None:
    schedule = LearningRateSchedule(
        kind, 0.1, steps_per_epoch=10, epochs=1000, warmup_epochs=warmup, decay_epochs=decay
    )
    assert 0 <= schedule(step) <= 0.1
