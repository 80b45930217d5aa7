"""``GET /jobs/{job}/findings``: gathered from what a training leaves, while it runs and after its end."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.cli.commands import WITH_A_SERVER
from app.context import AppContext
from app.datasets.examination.report import Diagnosis, ExaminationReport, write_examination
from app.datasets.manifest import load_manifest
from app.models import Dataset, JobEpoch
from tests.api.test_problems import assert_problem
from tests.conftest import Trained
from tests.running import import_pictures
from tests.services.rows import add_job, add_product, change_job

FLAT = 1.1
"""About log(3)."""


def find(client: TestClient, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/jobs/{job}/findings").raise_for_status().json()
    return found


def add_training(context: AppContext, product: str, dataset: str, epochs: int, **settings: Any) -> str:
    """A training whose loss stays where it is."""
    hyperparameters = {"method": "fine_tune", "pretrained": "none", "epochs": 20, **settings}
    job = add_job(
        context,
        product_id=product,
        dataset_id=dataset,
        status="running",
        network="tiny_cnn",
        hyperparameters=hyperparameters,
        split={"counts": {"train": 300, "valid": 90, "test": 90}},
    )
    with context.db.write() as session:
        session.add_all(
            JobEpoch(
                job_id=job,
                epoch=number,
                step=10 * number,
                train_loss=FLAT,
                train_accuracy=0.33,
                valid_loss=FLAT,
                valid_accuracy=0.34,
                learning_rate=0.001,
                seconds=1.0,
                is_best=number == 1,
            )
            for number in range(1, epochs + 1)
        )
    return job


def test_a_training_that_has_ended_is_judged_by_its_test_too(trained: Trained) -> None:
    found = find(trained.client, trained.job)
    assert (found["status"], found["epochs"], found["is_tested"]) == ("succeeded", 2, True)
    codes = [each["code"] for each in found["data"]]
    # Of six images of a test nothing can be claimed, and nothing has looked at the dataset.
    assert "few_test_images" in codes
    assert codes[-1] == "not_examined"
    levels = [each["level"] for each in found["data"]]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    for each in found["data"]:
        assert each["command"] is None or shlex.split(each["command"])[1] in WITH_A_SERVER
    [again] = [each for each in found["data"] if each["code"] == "few_valid_images"]
    assert "--set learning_rate=0.01" in again["command"]
    assert "image_size=16" in again["command"]


def test_the_report_has_them_without_those_of_the_dataset(trained: Trained) -> None:
    html = trained.client.get(f"/jobs/{trained.job}/evaluation/report").raise_for_status().text
    [found, *_] = find(trained.client, trained.job)["data"]
    assert "Findings about the training" in html
    assert found["evidence"].split(":")[0] in html
    assert "nothing has looked at the images themselves" not in html


def test_one_that_has_not_begun_has_none_and_other_kinds_are_refused(
    client: TestClient, context: AppContext
) -> None:
    product, dataset = add_product(context)
    job = add_training(context, product, dataset, 0)
    assert find(client, job) | {"job": job} == {
        "job": job, "status": "running", "epochs": 0, "is_tested": False, "data": []
    }  # fmt: skip
    other = add_job(context, product_id=product, dataset_id=dataset, kind="import")
    problem = assert_problem(client.get(f"/jobs/{other}/findings"), 409)
    assert "only trainings have findings" in problem["detail"]
    assert_problem(client.get("/jobs/nothing-here/findings"), 404)


def test_a_running_training_that_does_not_learn_is_told_while_it_runs(
    client: TestClient, context: AppContext
) -> None:
    product, dataset = add_product(context)
    with context.db.write() as session:
        classes = [{"name": name, "count": 160} for name in ("blue", "green", "red")]
        session.get_one(Dataset, dataset).classes = classes
    young, older = (add_training(context, product, dataset, epochs) for epochs in (2, 6))
    assert [each["code"] for each in find(client, young)["data"]] == ["not_examined"]
    found = find(client, older)["data"]
    assert [each["code"] for each in found] == ["not_learning", "not_examined"]
    assert (found[0]["level"], found[0]["dataset"]) == ("warning", dataset)
    assert "from 1.100 to 1.100 in 6 epochs" in found[0]["evidence"]
    slow = add_training(context, product, dataset, 6, learning_rate=1e-6)
    found = find(client, slow)["data"]
    assert (found[0]["code"], found[0]["settings"]) == ("rate_too_low", {"learning_rate": 0.001})


@pytest.mark.parametrize(
    ("class_map", "codes"),
    [
        (None, ["twins", "shortcut"]),
        ({"drop": ["red"]}, ["twins"]),
        ({"merge": {"cold": ["blue", "green"]}}, ["shortcut"]),
    ],
)
def test_what_the_examination_knows_of_the_classes_that_are_learned_is_said_again(
    client: TestClient, context: AppContext, class_map: dict[str, Any] | None, codes: list[str]
) -> None:
    dataset = import_pictures(client, context, "p")
    folder = context.storage.dataset(dataset)
    twins, shortcut, note = (
        Diagnosis(code=code, level=level, finding=f"{code} is there", advice="Look.", classes=classes)
        for code, level, classes in (
            ("twins", "warning", ("blue", "green")),
            ("shortcut", "warning", ("red",)),
            ("imbalance", "note", ()),
        )
    )
    write_examination(folder, load_manifest(folder), ExaminationReport(diagnoses=(twins, shortcut, note)))
    with context.db.write() as session:
        session.get_one(Dataset, dataset).examination = {"network": None}
    job = add_training(context, "p", dataset, 1)
    if class_map is not None:
        change_job(context, job, payload={"class_map": class_map})
    found = find(client, job)["data"]
    assert [each["code"] for each in found] == codes
    assert {each["dataset"] for each in found} == {dataset}
