"""Parts of files, and what is no part of one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.config import Settings
from app.context import AppContext
from app.migrations import upgrade
from tests.api.test_problems import assert_problem
from tests.clients import local_client
from tests.running import import_pictures


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, str, bytes]]:
    """A client, the path of an image, and its bytes."""
    settings = Settings(home=tmp_path_factory.mktemp("ranges"), _env_file=None)
    context = AppContext.open(settings)
    upgrade(context.db)
    with local_client(settings, raise_server_exceptions=False) as client:
        dataset = import_pictures(client, context, "squares")
        item = client.get(f"/datasets/{dataset}/items?limit=1").json()["data"][0]["id"]
        path = f"/datasets/{dataset}/items/{item}/image"
        yield client, path, client.get(path).content
    context.close()


@pytest.mark.parametrize(
    ("header", "first", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=5-", 5, None),
        ("bytes=-5", -5, None),
        ("BYTES = 0-9", 0, 10),
        ("bytes=10-" + "9" * 5000, 10, None),
        ("bytes=-" + "9" * 5000, 0, None),
        ("bytes=0-4,2-9", 0, 10),
        ("bytes=0-9," + "9" * 30 + "-", 0, 10),
    ],
)
def test_a_range_is_answered_with_its_bytes(
    file: tuple[TestClient, str, bytes], header: str, first: int, end: int | None
) -> None:
    client, path, whole = file
    answer = client.get(path, headers={"range": header})
    assert answer.status_code == 206
    assert answer.content == whole[first:end]


def test_several_ranges_are_parts_of_one_answer(file: tuple[TestClient, str, bytes]) -> None:
    client, path, whole = file
    answer = client.get(path, headers={"range": "bytes=0-4, 20-24"})
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges")
    assert whole[:5] in answer.content
    assert whole[20:25] in answer.content


@pytest.mark.parametrize("header", ["pages=0-1", "bytes=" + "0-1," * 5000])
def test_another_unit_and_ranges_without_end_are_answered_with_the_whole(
    file: tuple[TestClient, str, bytes], header: str
) -> None:
    client, path, whole = file
    answer = client.get(path, headers={"range": header})
    assert (answer.status_code, answer.content) == (200, whole)


@pytest.mark.parametrize("header", ["bytes=999999-", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_a_range_behind_the_end_is_a_problem_that_names_the_size(
    file: tuple[TestClient, str, bytes], header: str
) -> None:
    client, path, whole = file
    answer = client.get(path, headers={"range": header})
    assert assert_problem(answer, 416)["code"] == "range_not_satisfiable"
    assert answer.headers["content-range"] == f"bytes */{len(whole)}"


@pytest.mark.parametrize(
    "header",
    ["bytes", "bytes=", "bytes=,", "bytes=a-b", "bytes=9-5", "bytes=-", "bytes=0x0-1", "bytes=0-1;2"],
)
def test_what_is_no_range_is_a_problem(file: tuple[TestClient, str, bytes], header: str) -> None:
    client, path, _ = file
    answer = client.get(path, headers={"range": header})
    assert assert_problem(answer, 400)["code"] == "malformed_range"


def test_an_image_that_products_share_has_no_time(file: tuple[TestClient, str, bytes]) -> None:
    client, path, whole = file
    answer = client.get(path)
    assert "last-modified" not in answer.headers
    rest = {"range": "bytes=5-", "if-range": answer.headers["etag"]}
    assert client.get(path, headers=rest).content == whole[5:]
    for other in ("Thu, 26 Nov 2026 10:00:00 GMT", '"another"'):
        assert client.get(path, headers={**rest, "if-range": other}).content == whole
