"""``group_by`` of an import, and what a training and its evaluation make of groups."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from tests.pictures import COLOURS, make_picture, make_zip
from tests.running import TINY, run_queued

GROUP_BY = "_(part[0-9]+)_"


def make_parts(came_split: bool = False) -> dict[str, bytes]:
    """Three images of each of eight parts a class; where they came split, part 0 is in train and in test."""
    files = {}
    for label in COLOURS:
        for number in range(24):
            part = number // 3
            home = "test/" if part > 5 or number == 0 else "valid/" if part == 5 else "train/"
            files[f"{home if came_split else ''}{label}/{label}_part{part}_{number}.png"] = make_picture(
                label, number
            )
    return files


def import_parts(client: TestClient, context: AppContext, files: dict[str, bytes], **choices: Any) -> str:
    client.post("/products", json={"id": "p"})
    archive = {"file": ("parts.zip", make_zip(files))}
    answer = client.post("/products/p/datasets", files=archive, data={"group_by": GROUP_BY, **choices})
    assert answer.status_code == 202, answer.text
    run_queued(context)
    dataset: str = answer.json()["id"]
    return dataset


def train(client: TestClient, context: AppContext, **more: Any) -> dict[str, Any]:
    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY, **more}
    job: dict[str, Any] = client.post("/jobs", json=body).raise_for_status().json()
    run_queued(context)
    return job


def test_no_part_is_in_two_splits_of_a_training(client: TestClient, context: AppContext) -> None:
    dataset = import_parts(client, context, make_parts())
    job = client.post(
        "/jobs", json={"product": "p", "network": "tiny_cnn", "hyperparameters": TINY}
    ).raise_for_status()
    items = client.get(f"/datasets/{dataset}/items?job={job.json()['id']}&limit=100").json()["data"]
    homes: dict[str, set[str]] = {}
    for item in items:
        assert item["group"].startswith("part")
        homes.setdefault(item["group"], set()).add(item["split"])
    assert all(len(splits) == 1 for splits in homes.values())
    assert {split for splits in homes.values() for split in splits} == {"train", "valid", "test"}
    assert client.get(f"/datasets/{dataset}/report").json()["groups"]["count"] == 8


def test_shared_test_images_of_folders_that_came_split_are_told_apart(
    client: TestClient, context: AppContext
) -> None:
    import_parts(client, context, make_parts(came_split=True))
    job = train(client, context)
    assert job["split"]["counts"]["test"] == 18
    assert job["split"]["ignore_groups"] is False
    evaluation = client.get(f"/jobs/{job['id']}/evaluation").json()
    assert evaluation["items"] == 18
    assert evaluation["shared_groups"]["items"] == 3
    assert evaluation["shared_groups"]["are_counted"] is False
    assert "3 test images are of groups that train or valid has too" in evaluation["warnings"][0]

    ignoring = train(client, context, split={"ignore_groups": True})
    assert ignoring["split"]["counts"]["test"] == 21
    assert ignoring["split"]["ignore_groups"] is True
    metrics = [client.get(f"/jobs/{each['id']}/metrics").json() for each in (job, ignoring)]
    assert [each["ignore_groups"] for each in metrics] == [False, True]
    evaluation = client.get(f"/jobs/{ignoring['id']}/evaluation").json()
    assert evaluation["items"] == 21
    assert evaluation["shared_groups"]["items"] == 3
    assert evaluation["shared_groups"]["are_counted"] is True
    assert "may be too high" in evaluation["warnings"][0]


@pytest.mark.parametrize("way", ["form", "json", "query", "retry"])
@pytest.mark.parametrize("group_by", ["(", "part", "(a)(b)", "x" * 600])
def test_a_pattern_that_is_none_is_refused_at_once(client: TestClient, way: str, group_by: str) -> None:
    client.post("/products", json={"id": "p"})
    path, archive = "/products/p/datasets", {"file": ("parts.zip", make_zip(make_parts()))}
    if way == "form":
        answer = client.post(path, files=archive, data={"group_by": group_by})
    elif way == "json":
        answer = client.post(path, json={"path": "/data", "group_by": group_by})
    elif way == "query":
        answer = client.post(path, files=archive, params={"group_by": group_by})
    else:
        job = client.post(path, files=archive).json()["job"]
        answer = client.post(f"/jobs/{job}/retry", json={"group_by": group_by})
    assert answer.status_code == 422, answer.text
    assert "group_by" in json.dumps(answer.json()["errors"])


def test_groups_that_no_image_has_fail_the_import_and_a_retry_takes_others(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_parts(client, context, make_parts(), group_by="(screw[0-9]+)")
    failed = client.get(f"/datasets/{dataset}").json()
    assert failed["status"] == "failed"
    assert "names are, for example" in failed["error"]["detail"]
    client.post(f"/jobs/{failed['job']}/retry", json={"group_by": GROUP_BY}).raise_for_status()
    run_queued(context)
    assert client.get(f"/datasets/{dataset}").json()["status"] == "ready"
