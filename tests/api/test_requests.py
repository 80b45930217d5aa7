"""No route reads a request otherwise than it was meant: the published document is walked."""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from app.api.prediction_routes import PREDICTION_ROUTES
from app.config import Settings
from app.context import AppContext
from tests.api.opened import opened
from tests.api.operations import GUARDED, OPERATIONS, WITH_BODY, Operation
from tests.api.test_problems import JSON, assert_problem
from tests.clients import local_client

FORM = "multipart/form-data"
MULTIPART = [operation for operation in WITH_BODY if FORM in operation.content]
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
every_body = pytest.mark.parametrize("operation", WITH_BODY, ids=str)
every_json = pytest.mark.parametrize(
    "operation", [operation for operation in WITH_BODY if "application/json" in operation.content], ids=str
)
every_form = pytest.mark.parametrize("operation", MULTIPART, ids=str)
every_form_with_fields = pytest.mark.parametrize(
    "operation", [operation for operation in MULTIPART if operation.fields(FORM) != ["file"]], ids=str
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One API for all that only asks, with a product ``x``."""
    with opened(Settings(home=tmp_path_factory.mktemp("asked"), _env_file=None)) as client:
        client.post("/products", json={"id": "x"})
        yield client


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("guarded")
    with opened(Settings(home=home, api_key="s3cret", _env_file=None)) as client:
        yield client


def ask(client: TestClient, operation: Operation, query: str = "", **body: Any) -> Any:
    if operation.content and not body:
        takes_json = "application/json" in operation.content
        body = {"content": b"{}", "headers": JSON} if takes_json else {"files": {"file": ("a.png", b"x")}}
    return client.request(operation.method, operation.url + query, **body)


PROBED = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
"""Probes add a query of their own, against caches."""


@every_operation
def test_a_query_parameter_that_does_not_exist_is_refused_with_those_that_do(
    client: TestClient, operation: Operation
) -> None:
    if operation.path in PROBED:
        assert ask(client, operation, "?made_up=1&made_up=2&x=%00").status_code == 200
        return
    problem = assert_problem(ask(client, operation, "?made_up=1"), 422)
    assert problem["errors"][0]["pointer"] == "made_up"
    assert all(name in problem["detail"] for name in operation.queries)
    for name in operation.queries:
        misspelt = name[:-1] + "_" + name[-1]
        assert (
            f"did you mean {name!r}?"
            in assert_problem(ask(client, operation, f"?{misspelt}=1"), 422)["detail"]
        )


@every_operation
def test_a_query_parameter_that_is_given_twice_is_refused(client: TestClient, operation: Operation) -> None:
    for name in operation.queries:
        if name not in operation.lists:
            problem = assert_problem(ask(client, operation, f"?{name}=1&{name}=2"), 422)
            assert "given 2 times" in problem["detail"]


@every_body
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br", "GZIP"])
def test_a_content_encoding_is_a_415_that_names_it(
    client: TestClient, operation: Operation, encoding: str
) -> None:
    headers = {**JSON, "content-encoding": encoding}
    answer = ask(client, operation, content=gzip.compress(b"{}"), headers=headers)
    problem = assert_problem(answer, 415)
    assert encoding in problem["detail"]
    assert "uncompressed" in problem["hint"]
    assert answer.headers["accept-encoding"] == "identity"


@every_json
@pytest.mark.parametrize("encoding", ["identity", ""])
def test_a_body_that_is_not_encoded_may_say_so(
    client: TestClient, operation: Operation, encoding: str
) -> None:
    headers = {**JSON, "content-encoding": encoding}
    assert ask(client, operation, content=b"{}", headers=headers).status_code != 415


@every_body
@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "text/plain", "application/xml", None]
)
def test_another_content_type_is_a_415_that_names_it_and_what_to_send(
    client: TestClient, operation: Operation, media_type: str | None
) -> None:
    if media_type is None and operation.path in PREDICTION_ROUTES[1:]:
        return  # the protocol's clients state none
    headers = {"content-type": media_type} if media_type else {}
    problem = assert_problem(ask(client, operation, content=b'{"id": "x"}', headers=headers), 415)
    assert (media_type or "no content type") in problem["detail"]
    assert all(offered in problem["hint"] for offered in operation.content)
    assert ("curl -d" in problem["hint"]) == (media_type == "application/x-www-form-urlencoded")


@every_json
def test_gzip_that_nothing_announces_is_named(client: TestClient, operation: Operation) -> None:
    answer = ask(client, operation, content=gzip.compress(b"{}"), headers=JSON)
    assert "gzip" in assert_problem(answer, 415)["detail"]


@every_json
@pytest.mark.parametrize("body", [b'{"id": "\xe4"}', '{"id": "x"}'.encode("utf-16")])
def test_json_that_is_not_utf8_is_refused_as_that(
    client: TestClient, operation: Operation, body: bytes
) -> None:
    assert "UTF-8" in assert_problem(ask(client, operation, content=body, headers=JSON), 422)["detail"]


@every_json
def test_broken_json_is_refused_as_that(client: TestClient, operation: Operation) -> None:
    problem = assert_problem(ask(client, operation, content=b'{"id": ', headers=JSON), 422)
    assert problem["errors"][0]["pointer"] == "/"
    assert "json" in problem["detail"].lower()


@every_json
def test_a_field_that_does_not_exist_is_refused_with_those_of_this_route(
    client: TestClient, operation: Operation
) -> None:
    fields = operation.fields("application/json")
    misspelt = fields[0][:-1] + "_" + fields[0][-1]
    problem = assert_problem(client.request(operation.method, operation.url, json={misspelt: 1}), 422)
    (error,) = [error for error in problem["errors"] if error["pointer"] == f"/{misspelt}"]
    assert error["message"] == f"no such field; did you mean {fields[0]!r}? valid: {', '.join(fields)}"


@pytest.mark.parametrize(
    ("body", "pointer", "meant"),
    [
        ({"hyperparameters": {"epoch": 3}}, "/hyperparameters/epoch", "epochs"),
        (
            {"hyperparameters": {"early_stopping": {"patients": 3}}},
            "/hyperparameters/early_stopping/patients",
            "patience",
        ),
        ({"split": {"training": 3}}, "/split/training", "train"),
        ({"gate": {"min-accuracy": 1}}, "/gate/min-accuracy", "min_accuracy"),
    ],
)
def test_a_field_inside_of_another_is_looked_for_there(
    client: TestClient, body: dict[str, Any], pointer: str, meant: str
) -> None:
    problem = assert_problem(client.post("/jobs", json={"product": "x", **body}), 422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert f"did you mean {meant!r}?" in problem["detail"]


def test_a_field_of_a_picture_in_json_is_looked_for_there(client: TestClient) -> None:
    body = {"product": "x", "inputs": [{"base64": "AAAA"}]}
    problem = assert_problem(client.post("/predict", json=body), 422)
    messages = {error["pointer"]: error["message"] for error in problem["errors"]}
    assert messages["/inputs/0/base64"].endswith("valid: b64, name")


@pytest.mark.parametrize(
    ("path", "body", "unknown", "meant"),
    [
        ("/predict", {"image": "AAAA"}, "image", "inputs"),
        ("/predict", {"images": ["AAAA"], "product": "p"}, "images", "inputs"),
        ("/products/x/datasets", {"folder": "/data"}, "folder", "path"),
        ("/products", {"label": "screws"}, "label", "id"),
    ],
)
def test_a_field_that_is_called_otherwise_is_named_before_the_one_that_is_missing(
    client: TestClient, path: str, body: dict[str, Any], unknown: str, meant: str
) -> None:
    client.post("/products", json={"id": "x"})
    problem = assert_problem(client.post(path, json=body), 422)
    assert problem["detail"].startswith(f"/{unknown}: no such field; did you mean '{meant}'?")
    assert problem["errors"][1]["pointer"] == f"/{meant}"


@pytest.mark.parametrize(
    ("choice", "value", "hint"),
    [
        ("name_encoding", "klingon", "the import then asks"),
        ("class_level", "middle", "the import then asks"),
        ("strict", "perhaps", "if you do not need it"),
        ("pixel_range", "-5-4095", "if you do not need it"),
    ],
)
def test_only_what_an_import_asks_for_is_said_to_be_asked(
    client: TestClient, choice: str, value: str, hint: str
) -> None:
    client.post("/products", json={"id": "x"})
    for given in (
        {"params": {choice: value}, "files": {"file": b"x"}},
        {"data": {choice: value}, "files": {"file": b"x"}},
        {"json": {"path": "/data", choice: value}},
    ):
        problem = assert_problem(client.post("/products/x/datasets", **given), 422)
        assert hint in problem["hint"]
        assert problem["errors"][0]["pointer"] == f"/{choice}"


@every_form_with_fields
def test_a_form_field_that_does_not_exist_or_comes_twice_is_refused(
    client: TestClient, operation: Operation
) -> None:
    picture = {"file": ("a.png", b"x")}
    fields = [field for field in operation.fields(FORM) if field != "file"]
    unknown = ask(client, operation, files=picture, data={fields[0] + "s": "x"})
    assert f"did you mean {fields[0]!r}?" in assert_problem(unknown, 422)["detail"]
    twice = ask(client, operation, files=picture, data={fields[0]: ["x", "y"]})
    assert "given 2 times" in assert_problem(twice, 422)["detail"]


@every_form
def test_more_files_than_a_form_may_have_are_a_413(client: TestClient, operation: Operation) -> None:
    files = [("file", ("a.png", b"x"))] * 80
    assert "more files than" in assert_problem(ask(client, operation, files=files), 413)["detail"]


@every_json
def test_a_byte_order_mark_before_the_json_is_no_part_of_it(client: TestClient, operation: Operation) -> None:
    answer = ask(client, operation, content=codecs.BOM_UTF8 + b'{"made_up": 1}', headers=JSON)
    assert "/made_up" in {error["pointer"] for error in assert_problem(answer, 422)["errors"]}


@every_operation
def test_a_number_that_no_database_holds_is_refused(client: TestClient, operation: Operation) -> None:
    for one in operation.parameters:
        if one["in"] == "query" and {"integer", "number"} & {
            schema.get("type") for schema in (one["schema"], *one["schema"].get("anyOf", ()))
        }:
            assert_problem(ask(client, operation, f"?{one['name']}={10**30}"), 422)


def test_a_pointer_names_no_member_of_a_union(client: TestClient) -> None:
    body = {"product": "x", "hyperparameters": {"class_weights": {"a": -1}}}
    problem = assert_problem(client.post("/jobs", json=body), 422)
    pointers = {error["pointer"] for error in problem["errors"]}
    assert pointers == {"/hyperparameters/class_weights", "/hyperparameters/class_weights/a"}


@every_form
def test_a_name_in_place_of_a_file_is_refused_with_the_right_curl(
    client: TestClient, operation: Operation
) -> None:
    answer = ask(client, operation, files={"file": (None, "image.jpg")})
    problem = assert_problem(answer, 422)
    assert "'image.jpg', not a file" in problem["detail"]
    assert "curl -F file=@" in problem["hint"]


@every_form
def test_a_form_that_cannot_be_read_is_refused_with_a_hint(client: TestClient, operation: Operation) -> None:
    for headers in ({"content-type": FORM}, {"content-type": f"{FORM}; boundary=other"}):
        problem = assert_problem(
            ask(client, operation, content=b"--x\r\n\r\n--x--\r\n", headers=headers), 422
        )
        assert "curl -F file=@" in problem["hint"]


@every_form_with_fields
def test_a_query_and_a_form_that_disagree_are_refused(client: TestClient, operation: Operation) -> None:
    name = next(field for field in operation.fields(FORM) if field != "file")
    answer = ask(client, operation, f"?{name}=a", files={"file": ("a.png", b"x")}, data={name: "b"})
    assert "in the query" in assert_problem(answer, 422)["detail"]


def test_what_a_json_prediction_asks_may_stand_in_the_query(client: TestClient) -> None:
    body = {"inputs": [{"b64": "AAAA"}]}
    assert "'nothing'" in assert_problem(client.post("/predict?product=nothing", json=body), 404)["detail"]
    answer = client.post("/predict?product=nothing", json={**body, "product": "other"})
    assert "in the query" in assert_problem(answer, 422)["detail"]


@pytest.mark.parametrize("operation", GUARDED, ids=str)
def test_who_has_no_key_learns_nothing_else(guarded: TestClient, operation: Operation) -> None:
    bodies: list[dict[str, Any]] = [{"content": b"{", "headers": JSON}]
    bodies += [{"content": b"x", "headers": {"content-encoding": "gzip"}}] if operation.content else []
    for body in bodies:
        assert_problem(guarded.request(operation.method, operation.url + "?made_up=1", **body), 401)
        assert_problem(guarded.request(operation.method, operation.url_with("%00"), **body), 401)


@pytest.fixture
def any_client(any_context: AppContext) -> Iterator[TestClient]:
    with local_client(any_context.settings, raise_server_exceptions=False) as client:
        yield client


def test_text_that_a_database_cannot_keep_is_refused_everywhere(any_client: TestClient) -> None:
    """One test for all, since each needs a database of its own."""
    client = any_client
    client.post("/products", json={"id": "x"})
    for operation in OPERATIONS:
        if "{" in operation.path:
            url = operation.url_with("a%00b")
            body: dict[str, Any] = {"content": b"{}", "headers": JSON} if operation.content else {}
            status = client.request(operation.method, url, **body).status_code
            assert status in (404, 415, 422)  # no id holds it
        for name in operation.queries:
            problem = assert_problem(ask(client, operation, f"?{name}=a%00b"), 422)
            assert problem["errors"][0]["pointer"] == name
        if "application/json" in operation.content:
            for name in operation.fields("application/json"):
                for escape, found in (("\\u0000", "U+0000"), ("\\ud800", "U+D800"), ("\\udfff", "U+DFFF")):
                    for value in (f'"a{escape}b"', f'{{"a{escape}b": 1}}', f'["a", {{"b": "{escape}"}}]'):
                        raw = f'{{"{name}": {value}}}'.encode()
                        problem = assert_problem(ask(client, operation, content=raw, headers=JSON), 422)
                        assert problem["errors"][0]["pointer"].startswith(f"/{name}")
                        assert found in problem["detail"]
        if FORM in operation.content:
            for name in operation.fields(FORM):
                files = {"file": ("a\0.png", b"x")} if name == "file" else {"file": ("a.png", b"x")}
                data = {} if name == "file" else {name: "a\0b"}
                raw_form = _form(files["file"], data)
                problem = assert_problem(ask(client, operation, **raw_form), 422)
                assert "U+0000" in problem["detail"]
                assert problem["errors"][0]["pointer"] == name


def _form(file: tuple[str, bytes], fields: dict[str, str]) -> dict[str, Any]:
    """A form as written by hand: client libraries escape what is strange."""
    parts = [f'name="file"; filename="{file[0]}"\r\n\r\n{file[1].decode()}']
    parts += [f'name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    body = "".join(f"--xyz\r\nContent-Disposition: form-data; {part}\r\n" for part in parts) + "--xyz--\r\n"
    return {"content": body.encode(), "headers": {"content-type": f"{FORM}; boundary=xyz"}}


def test_emoji_and_other_true_pairs_are_text(any_client: TestClient) -> None:
    raw = b'{"id": "x", "name": "\\ud83d\\ude00"}'
    answer = any_client.post("/products", content=raw, headers=JSON)
    assert answer.status_code == 201
    assert answer.json()["name"] == "\U0001f600"


def test_a_cursor_and_a_file_name_hold_no_nul_either(any_client: TestClient) -> None:
    any_client.post("/products", json={"id": "x"})
    assert_problem(any_client.get("/products?after=YQBi"), 422)
    headers = {"content-type": "application/zip", "x-filename": quote("a\0b.zip")}
    problem = assert_problem(any_client.post("/products/x/datasets", content=b"PK", headers=headers), 422)
    assert problem["errors"][0]["pointer"] == "X-Filename"


def test_a_document_of_any_depth_is_answered(client: TestClient) -> None:
    deep = b'{"id": ' + b"[" * 900 + b'"\\u0000"' + b"]" * 900 + b"}"
    assert_problem(client.post("/products", content=deep, headers=JSON), 422)
    assert json.loads(deep)
