"""``GET /datasets/{dataset}/items``: filters, and pages of what they leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient

from app.config import Settings
from app.context import AppContext
from app.migrations import upgrade
from tests.api.test_groups import import_parts
from tests.api.test_problems import assert_problem
from tests.clients import local_client
from tests.pictures import make_picture
from tests.running import import_pictures

FILES = {
    f"{split}/{label}/part{part}_{number}.png": make_picture(label, 100 * part + number)
    for split, parts in (("train", range(3)), ("test", range(3, 5)))
    for part in parts
    for label in ("red", "blue")
    for number in range(3)
}


class Imported(NamedTuple):
    client: TestClient
    path: str


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    """A dataset that came split, with groups."""
    settings = Settings(home=tmp_path_factory.mktemp("items"), _env_file=None)
    context = AppContext.open(settings)
    upgrade(context.db)
    with local_client(settings, raise_server_exceptions=False) as client:
        dataset = import_parts(client, context, FILES, group_by="(part[0-9])_")
        yield Imported(client, f"/datasets/{dataset}/items")
    context.close()


def read_all(imported: Imported, limit: int = 100, **wanted: Any) -> list[dict[str, Any]]:
    """Every page, with a check that each but the last is full."""
    rows: list[dict[str, Any]] = []
    while True:
        page = imported.client.get(imported.path, params={"limit": limit, **wanted}).json()
        rows += page["data"]
        if not page["has_more"]:
            return rows
        assert len(page["data"]) == limit
        wanted["after"] = page["next_cursor"]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 30),
        ({"label": "red"}, 15),
        ({"split": "test"}, 12),
        ({"split": "valid"}, 0),
        ({"group": "part1"}, 6),
        ({"group": "part1", "label": "blue"}, 3),
        ({"group": "part1", "split": "test"}, 0),
    ],
)
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_a_filter_leaves_what_fits_it_on_pages_of_any_length(
    imported: Imported, wanted: dict[str, str], count: int, limit: int
) -> None:
    everything = read_all(imported)
    fitting = [row for row in everything if all(row[name] == value for name, value in wanted.items())]
    assert read_all(imported, limit, **wanted) == fitting
    assert len(fitting) == count


def test_a_page_begins_behind_the_cursor_whatever_is_filtered_since(imported: Imported) -> None:
    first = imported.client.get(imported.path, params={"limit": 4}).json()
    behind = {"after": first["next_cursor"], "limit": 100, "label": "red"}
    reds = read_all(imported, label="red")
    shown = {row["id"] for row in first["data"]}
    rest = imported.client.get(imported.path, params=behind).json()["data"]
    assert rest == [row for row in reds if row["id"] not in shown]


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ({"label": "green"}, "There are: blue, red."),
        ({"group": "part9"}, "There are: part0, part1, part2, part3, part4."),
        ({"split": "best"}, None),
        ({"after": "aW1nX25vbmU"}, "next_cursor"),  # of another dataset
    ],
)
def test_what_no_image_can_have_is_a_problem_that_says_what_there_is(
    imported: Imported, wanted: dict[str, str], hint: str | None
) -> None:
    problem = assert_problem(imported.client.get(imported.path, params=wanted), 422)
    assert problem["errors"][0]["pointer"].endswith(next(iter(wanted)))
    assert hint is None or hint in problem["hint"]


def test_a_dataset_without_splits_and_groups_says_so(client: TestClient, context: AppContext) -> None:
    path = f"/datasets/{import_pictures(client, context, 'p')}/items"
    assert "`job`" in assert_problem(client.get(f"{path}?split=test"), 422)["hint"]
    assert assert_problem(client.get(f"{path}?group=a"), 422)["hint"] == "No image has a group."


def test_the_splits_of_a_training_are_filtered_by(imported: Imported) -> None:
    job = imported.client.post("/jobs", json={"product": "p", "network": "tiny_cnn"}).json()["id"]
    everything = read_all(imported, job=job)
    assert everything != read_all(imported)
    for split in ("train", "valid", "test"):
        found = read_all(imported, job=job, split=split)
        assert found == [row for row in everything if row["split"] == split] != []


def test_an_item_that_is_not_there_is_a_404_with_a_hint(imported: Imported) -> None:
    problem = assert_problem(imported.client.get(f"{imported.path}/img_none/image"), 404)
    assert "lists them" in problem["hint"]


def test_a_list_is_entered_anywhere_by_the_place(imported: Imported) -> None:
    reds = read_all(imported, label="red")
    for start in (0, 7, 14, 15, 1_000_000):
        page = imported.client.get(imported.path, params={"start": start, "limit": 4, "label": "red"}).json()
        assert page["data"] == reds[start : start + 4]
        assert (page["start"], page["total"]) == (start, 15)
        assert page["has_more"] == (start + 4 < 15)
    page = imported.client.get(imported.path, params={"start": 7, "limit": 4, "label": "red"}).json()
    behind = {"after": page["next_cursor"], "label": "red"}
    rest = imported.client.get(imported.path, params=behind).json()
    assert (rest["start"], rest["data"]) == (11, reds[11:])


def test_a_place_and_a_cursor_are_refused_together(imported: Imported) -> None:
    cursor = imported.client.get(imported.path, params={"limit": 1}).json()["next_cursor"]
    answer = imported.client.get(imported.path, params={"after": cursor, "start": 1})
    assert "Leave out" in assert_problem(answer, 422)["hint"]


def test_several_classes_and_named_images_are_filtered_by(imported: Imported) -> None:
    everything = read_all(imported)
    assert read_all(imported, label=["red", "blue"]) == everything
    wanted = [everything[20]["id"], everything[3]["id"]]
    assert read_all(imported, item=wanted) == [everything[3], everything[20]]
    problem = assert_problem(imported.client.get(imported.path, params={"item": "img_none"}), 422)
    assert "'img_none'" in problem["detail"]


def test_one_image_is_what_the_list_says_of_it(imported: Imported) -> None:
    job = imported.client.post("/jobs", json={"product": "p", "network": "tiny_cnn"}).json()["id"]
    for wanted in ({}, {"job": job}):
        row = read_all(imported, **wanted)[5]
        assert imported.client.get(f"{imported.path}/{row['id']}", params=wanted).json() == row
    assert_problem(imported.client.get(f"{imported.path}/img_none"), 404)


def test_copies_are_side_by_side_and_contradictions_among_them(
    client: TestClient, context: AppContext
) -> None:
    first, second = make_picture("red", 1), make_picture("red", 2)
    files = {
        "blue/a.png": first,
        "blue/b.png": make_picture("blue", 3),
        "blue/c.png": second,
        "red/d.png": make_picture("red", 4),
        "red/e.png": second,
        "red/f.png": first,
        "red/g.png": first,
        "red/h.png": make_picture("red", 5),
        "red/i.png": make_picture("red", 5),
    }
    path = f"/datasets/{import_pictures(client, context, 'p', files)}/items"

    def names(**wanted: Any) -> str:
        rows = client.get(path, params=wanted).json()["data"]
        return "".join(row["name"].removesuffix(".png")[-1] for row in rows)

    assert names(copy=True) == "afgcehi"
    assert names(copy=False) == "bd"
    assert names(contradiction=True) == "afgce"
    assert names(contradiction=False) == "bdhi"
    assert names(contradiction=True, label="red") == "fge"
    cursor = client.get(path, params={"copy": True, "limit": 3}).json()["next_cursor"]
    assert names(copy=True, after=cursor) == "cehi"
    assert "examine" in assert_problem(client.get(f"{path}?near_duplicate=true"), 409)["hint"]


def test_the_jobs_on_a_dataset_are_listed(imported: Imported) -> None:
    dataset = imported.path.split("/")[2]
    jobs = imported.client.get("/jobs", params={"dataset": dataset, "limit": 100}).json()["data"]
    assert "import" in {job["kind"] for job in jobs}
    assert imported.client.get("/jobs", params={"dataset": "dst_none"}).json()["data"] == []
