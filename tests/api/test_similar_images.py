"""``?similar_to=`` of a dataset's items, and ``POST /datasets/{dataset}/similar``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.config import Settings
from app.context import AppContext
from app.datasets.examination.vectors import load_features
from app.datasets.manifest import load_manifest
from app.features.files import HEADER, MODEL, NOTE, VECTORS
from app.inference.threads import TurnThreads
from app.migrations import upgrade
from app.services import similar_images
from tests.api.keys import FIRST, make_headers
from tests.api.test_examinations import examine
from tests.api.test_groups import import_parts
from tests.api.test_item_images import encode, every_bound, reach, scene
from tests.api.test_problems import assert_problem
from tests.clients import local_client
from tests.extractors import give_extractor
from tests.images.hostile import flat
from tests.pictures import make_picture
from tests.running import import_pictures

SCENE = scene(320, 240)
FILES = {
    **{
        f"{label}/part{n % 3}_{n}.png": make_picture(label, n, 64)
        for label in ("red", "blue")
        for n in range(6)
    },
    "red/part9_a.png": encode(SCENE, "PNG"),
    "blue/part9_b.jpg": encode(SCENE.crop((10, 10, 300, 230)), "JPEG", quality=60),
    "red/part9_c.png": encode(SCENE.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "PNG"),
}


class Examined(NamedTuple):
    client: TestClient
    context: AppContext
    dataset: str

    @property
    def path(self) -> str:
        return f"/datasets/{self.dataset}"

    def ids(self) -> dict[str, str]:
        rows = self.client.get(f"{self.path}/items?limit=100").json()["data"]
        return {row["name"]: row["id"] for row in rows}

    def list_like(self, item: str, **wanted: Any) -> list[dict[str, Any]]:
        """All pages."""
        rows: list[dict[str, Any]] = []
        while True:
            asked = {"limit": 100, "similar_to": item, **wanted}
            answer = self.client.get(f"{self.path}/items", params=asked)
            assert answer.status_code == 200, answer.text
            rows += answer.json()["data"]
            if not answer.json()["has_more"]:
                return rows
            wanted["after"] = answer.json()["next_cursor"]

    def ask(self, data: bytes, **options: Any) -> Any:
        return self.client.post(f"{self.path}/similar", files={"file": ("a", data)}, **options)


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Examined]:
    settings = Settings(home=tmp_path_factory.mktemp("similar"), _env_file=None)
    context = AppContext.open(settings)
    upgrade(context.db)
    give_extractor(context.storage.root)
    with local_client(settings, raise_server_exceptions=False) as client:
        dataset = import_parts(client, context, FILES, group_by="(part[0-9])_")
        assert examine(client, context, dataset)["error"] is None
        yield Examined(client, context, dataset)
    context.close()


@pytest.fixture(autouse=True)
def forget_rankings() -> None:
    similar_images._RANKINGS.clear()


def test_the_others_come_by_the_cosine_of_their_vectors(examined: Examined) -> None:
    folder = examined.context.storage.dataset(examined.dataset)
    manifest = load_manifest(folder)
    vectors = load_features(folder, manifest).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for position in (0, len(manifest.items) - 1):
        item = manifest.items[position].id
        wanted = {
            each.id: cosine
            for each, cosine in zip(manifest.items, vectors @ vectors[position], strict=True)
            if each.id != item
        }
        rows = examined.list_like(item)
        assert [row["id"] for row in rows] == sorted(wanted, key=lambda name: -wanted[name])
        assert [row["similarity"] for row in rows] == pytest.approx(
            sorted(wanted.values(), reverse=True), abs=1e-6
        )


def test_the_next_pages_are_not_ranked_anew_and_those_of_other_vectors_are(
    examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    compare = similar_images._compare

    async def count(*given: Any) -> Any:
        compared.append(len(given[1]))
        return await compare(*given)

    monkeypatch.setattr(similar_images, "_compare", count)
    first, *others = examined.ids().values()
    rows = examined.list_like(first, limit=3)
    assert len(rows) == len(others)
    assert compared == [len(rows) + 1]
    header = examined.context.storage.dataset(examined.dataset) / HEADER
    header.write_bytes(header.read_bytes() + b"\n")
    assert examined.list_like(first) == rows
    assert len(compared) == 2
    for other in others:
        examined.list_like(other)
    assert len(similar_images._RANKINGS) == similar_images._KEPT


def test_an_altered_copy_is_the_nearest(examined: Examined) -> None:
    first = examined.list_like(examined.ids()["red/part9_a.png"])[0]
    assert first["name"] in ("blue/part9_b.jpg", "red/part9_c.png")
    assert first["similarity"] > 0.7
    assert all(
        row["similarity"] is None for row in examined.client.get(f"{examined.path}/items").json()["data"]
    )


@pytest.mark.parametrize("limit", [1, 4])
@pytest.mark.parametrize("wanted", [{}, {"label": "red"}, {"group": "part9"}])
def test_pages_and_filters_keep_the_order(examined: Examined, wanted: dict[str, str], limit: int) -> None:
    item = examined.ids()["red/part9_a.png"]
    rows = [
        row for row in examined.list_like(item) if all(row[name] == value for name, value in wanted.items())
    ]
    assert examined.list_like(item, limit=limit, **wanted) == rows
    assert len(rows) == {"": 14, "label": 7, "group": 2}["".join(wanted)]


@pytest.mark.parametrize("as_form", [True, False])
def test_an_image_of_the_dataset_finds_itself(examined: Examined, as_form: bool) -> None:
    data = FILES["red/part9_a.png"]
    if as_form:
        answer = examined.ask(data)
    else:
        headers = {"content-type": "image/png"}
        answer = examined.client.post(f"{examined.path}/similar", content=data, headers=headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert len(found["data"]) == 10
    assert found["data"][0]["name"] == "red/part9_a.png"
    assert found["data"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert found["image"] == {
        "width": 320, "height": 240, "format": "png", "sha256": found["data"][0]["sha256"]
    }  # fmt: skip
    like = examined.list_like(found["data"][0]["id"], limit=9)
    assert [row["id"] for row in found["data"][1:]] == [row["id"] for row in like[:9]]


def test_an_altered_copy_that_is_not_in_the_dataset_finds_what_it_is_of(examined: Examined) -> None:
    for data in (encode(SCENE.resize((200, 150)), "JPEG", quality=50), encode(SCENE, "AVIF")):
        found = examined.ask(data, params={"limit": 3}).json()["data"]
        assert {row["group"] for row in found} == {"part9"}


def test_what_is_no_image_or_not_one_is_refused(examined: Examined) -> None:
    assert assert_problem(examined.ask(b"text"), 422)["code"] == "undecodable_image"
    assert "empty" in assert_problem(examined.ask(b""), 422)["detail"]
    two = [("file", ("a", flat("PNG", 8))), ("file", ("b", flat("PNG", 8)))]
    assert_problem(examined.client.post(f"{examined.path}/similar", files=two), 413)
    answer = examined.client.post(f"{examined.path}/similar", files={"other": (None, "x")})
    assert "file" in assert_problem(answer, 422)["hint"]
    for limit in (0, 101, "all"):
        assert_problem(examined.ask(flat("PNG", 8), params={"limit": limit}), 422)


def test_images_that_show_the_same_thing_are_filtered_by_their_group(examined: Examined) -> None:
    rows = examined.client.get(f"{examined.path}/items?limit=100").json()["data"]
    near = {row["near_group"] for row in rows} - {None}
    assert near
    for group in near:
        found = examined.client.get(f"{examined.path}/items", params={"near_group": group}).json()["data"]
        assert found == [row for row in rows if row["near_group"] == group]
    problem = assert_problem(examined.client.get(f"{examined.path}/items?near_group=none"), 422)
    assert min(near) in problem["hint"]


def test_what_is_not_there_is_a_404(examined: Examined) -> None:
    assert_problem(examined.client.get(f"{examined.path}/items?similar_to=img_none"), 404)
    assert_problem(examined.client.get("/datasets/dst_none/items?similar_to=img_none"), 404)
    assert_problem(examined.client.post("/datasets/dst_none/similar", files={"file": ("a", b"x")}), 404)


def both(examined: Examined) -> list[Any]:
    item = examined.ids()["red/part9_a.png"]
    return [
        examined.client.get(f"{examined.path}/items?similar_to={item}"),
        examined.ask(FILES["red/part9_a.png"]),
    ]


def test_a_dataset_that_is_not_examined_says_how_it_is(examined: Examined) -> None:
    files = {
        f"{label}/{number}.png": make_picture(label, number) for label in ("red", "blue") for number in (1, 2)
    }
    dataset = import_pictures(examined.client, examined.context, "other", files)
    other = Examined(examined.client, examined.context, dataset)
    item = next(iter(other.ids().values()))
    for answer in (other.client.get(f"{other.path}/items?similar_to={item}"), other.ask(flat("PNG", 8))):
        problem = assert_problem(answer, 409)
        assert problem["code"] == "features_unavailable"
        assert "loupe dataset examine" in problem["hint"]


@pytest.mark.parametrize("name", [VECTORS, HEADER])
def test_vectors_that_are_damaged_later_are_not_compared(examined: Examined, name: str) -> None:
    assert {answer.status_code for answer in both(examined)} == {200}
    path = examined.context.storage.dataset(examined.dataset) / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        for answer in both(examined):
            assert "loupe dataset examine" in assert_problem(answer, 409)["hint"]
    finally:
        path.write_bytes(content)
    assert {answer.status_code for answer in both(examined)} == {200}


def test_vectors_of_another_extractor_are_not_compared_with_an_upload(examined: Examined) -> None:
    path = examined.context.storage.dataset(examined.dataset) / HEADER
    content = path.read_bytes()
    path.write_text(json.dumps({**json.loads(content), "extractor": "0" * 64}))
    try:
        like, upload = both(examined)
        assert like.status_code == 200  # among themselves they can be
        assert "another extractor" in assert_problem(upload, 409)["detail"]
        assert f"loupe dataset examine {examined.dataset}" in upload.json()["hint"]
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", [MODEL, NOTE])
def test_an_extractor_that_is_gone_since_is_missed_by_uploads_alone(examined: Examined, name: str) -> None:
    path = examined.context.storage.extractor / name
    content = path.read_bytes()
    path.unlink()
    try:
        like, upload = both(examined)
        assert like.status_code == 200
        assert_problem(upload, 409)
    finally:
        path.write_bytes(content)
    assert examined.ask(flat("PNG", 8)).status_code == 200


def test_a_search_goes_in_pieces_with_turns_of_others_between(
    examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [answer.json()["data"] for answer in both(examined)]
    monkeypatch.setattr(similar_images, "_ROWS_IN_A_TURN", 4)
    taken: list[Callable[[], Any]] = []
    begin = TurnThreads.begin

    def begin_seen(self: Any, work: Callable[[], Any]) -> Any:
        taken.append(work)
        return begin(self, work)

    monkeypatch.setattr(TurnThreads, "begin", begin_seen)
    similar_images._RANKINGS.clear()
    assert [answer.json()["data"] for answer in both(examined)] == whole
    assert len(taken) == 4 + 1 + 4


@every_bound
def test_a_search_waits_for_its_turn_as_a_prediction_does(
    examined: Examined, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    item = examined.ids()["red/part9_a.png"]
    reach(bound, examined.client, monkeypatch)
    answers = [examined.client.get(f"{examined.path}/items?similar_to={item}"), examined.ask(flat("PNG", 8))]
    for answer in answers:
        assert assert_problem(answer, 503)["code"] == "busy"
        assert answer.headers["retry-after"]


def test_a_key_may_send_so_many_images_a_minute(examined: Examined) -> None:
    settings = Settings(home=examined.context.settings.home, api_key="s3cret", _env_file=None)
    with local_client(settings, raise_server_exceptions=False) as client:
        key = make_headers(client, "read", limits={"predictions_per_minute": 2})
        answers = [
            client.post(f"{examined.path}/similar", files={"file": ("a", flat("PNG", 8))}, headers=key)
            for _ in range(3)
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        forbidden = make_headers(client, "predict")
        assert_problem(
            client.post(f"{examined.path}/similar", files={"file": ("a", b"x")}, headers=forbidden), 403
        )
        assert client.get("/audit", headers=FIRST).status_code == 200
