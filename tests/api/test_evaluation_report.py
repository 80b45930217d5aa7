"""What follows from an evaluation over HTTP: its curves, its images by cell, its page."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sklearn import metrics
from sqlalchemy import select

from app.context import AppContext
from app.datasets.manifest import image_path
from app.evaluation.page.policy import POLICY
from app.models import Evaluation, Job
from app.models.base import new_id
from app.services import evaluation_analyses, evaluation_pages, limited_child
from app.services.deletions import delete_dataset
from tests.api.test_problems import assert_problem
from tests.conftest import Trained
from tests.services.rows import EVALUATION, add_product, train

HEAVY = {"sklearn", "scipy", "matplotlib", "jinja2", "tensorflow", "keras"}
LABELS = EVALUATION.confusion_matrix.labels


def predictions(trained: Trained) -> list[dict[str, str]]:
    answer = trained.client.get(f"/jobs/{trained.job}/evaluation/predictions").raise_for_status()
    return list(csv.DictReader(io.StringIO(answer.text)))


def write_files(context: AppContext, job: Job, name: str = "x,\n<script>.png") -> Evaluation:
    """The files of the evaluation that ``train`` left, as a worker would have written them."""
    with context.db.read() as session:
        evaluation = session.scalars(select(Evaluation).where(Evaluation.job_id == job.id)).one()
    folder = context.storage.absolute(evaluation.folder)
    probabilities = np.eye(3, dtype=np.float32)[[0, 1, 0, 1]]
    np.save(folder / "probabilities.npy", probabilities)
    with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "name", "label", "predicted", *LABELS])
        for row, label in enumerate([0, 0, 1, 1]):
            writer.writerow([f"img_{row}", name, LABELS[label], LABELS[row % 2], *probabilities[row]])
    return evaluation


@contextmanager
def no_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is asked for within must be there already."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a process was started")

    with monkeypatch.context() as patch:
        for module in (evaluation_analyses, evaluation_pages):
            patch.setattr(module, "run_limited", refuse)
        yield


def test_the_api_starts_without_what_makes_reports() -> None:
    code = "import sys, app.launch.api, app.main; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert HEAVY & set(loaded.split()) == set()


def test_the_report_is_made_once_and_shown_under_a_strict_policy(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/jobs/{trained.job}/evaluation/report"
    first = trained.client.get(path).raise_for_status()
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    assert first.headers["content-security-policy"] == POLICY
    assert first.headers["content-disposition"] == f'inline; filename="report-{trained.job}.html"'
    text = re.sub(r"<[^>]+>", " ", first.text)
    evaluation = trained.client.get(f"/jobs/{trained.job}/evaluation").json()
    assert f"of {evaluation['items']} images were answered rightly" in text
    for fact in ("squares", "tiny_cnn", "tensorflow", "learning_rate", trained.dataset, "images in train"):
        assert fact in text
    maps = first.text.count("as the network saw it")
    assert maps == min(evaluation_pages.MISTAKES, len(evaluation["mistakes"]))
    assert first.text.count("data:image/jpeg;base64,") == evaluation["items"] + maps
    with no_process(monkeypatch):
        assert trained.client.get(path).content == first.content
        assert trained.client.head(path).headers["content-length"] == str(len(first.content))


def test_curves_are_those_of_the_predictions(trained: Trained) -> None:
    curves = trained.client.get(f"/jobs/{trained.job}/evaluation/curves").raise_for_status().json()
    rows = predictions(trained)
    assert curves["items"] == len(rows)
    for each in curves["classes"]:
        is_class = [row["label"] == each["name"] for row in rows]
        scores = [float(row[each["name"]]) for row in rows]
        assert each["roc"]["area"] == pytest.approx(metrics.roc_auc_score(is_class, scores))
        assert each["precision_recall"]["average_precision"] == pytest.approx(
            metrics.average_precision_score(is_class, scores)
        )
    wrong = [row["label"] != row["predicted"] for row in rows]
    assert curves["risk_coverage"]["risk"][-1] == pytest.approx(np.mean(wrong), abs=1e-6)
    evaluation = trained.client.get(f"/jobs/{trained.job}/evaluation").json()
    for name, calibration in (("reliability", "calibration"), ("reliability_before", "calibration_before")):
        measured = evaluation[calibration]
        assert (curves[name] is None) == (measured is None)
        if measured is not None:
            assert curves[name]["ece"] == pytest.approx(measured["ece"])
            assert [each["items"] for each in curves[name]["bins"]] == [
                one["items"] for one in measured["bins"]
            ]


@pytest.mark.parametrize("limit", [1, 4, 100])
@pytest.mark.parametrize(
    ("query", "column", "value"),
    [({}, None, None), ({"true": "red"}, "label", "red"), ({"predicted": "blue"}, "predicted", "blue")],
)
def test_examples_are_the_images_of_a_cell_surest_first(
    trained: Trained, limit: int, query: dict[str, str], column: str | None, value: str | None
) -> None:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = trained.client.get(
            f"/jobs/{trained.job}/evaluation/examples", params={**query, **after, "limit": limit}
        ).json()
        found += page["data"]
        if not page["has_more"]:
            break
        assert len(page["data"]) == limit
        after = {"after": page["next_cursor"]}
    rows = [row for row in predictions(trained) if column is None or row[column] == value]
    rows.sort(key=lambda row: -float(row[row["predicted"]]))
    assert [each["item"] for each in found] == [row["item"] for row in rows]
    for each, row in zip(found, rows, strict=True):
        assert (each["name"], each["true"], each["predicted"]) == (
            row["name"],
            row["label"],
            row["predicted"],
        )
        assert each["probability"] == pytest.approx(float(row[row["predicted"]]))
        assert each["probability_of_true"] == pytest.approx(float(row[row["label"]]))
    if found:
        assert trained.client.get(found[0]["image"] + "?size=32").status_code == 200


def test_examples_can_be_right_ones_or_mistakes_alone(trained: Trained) -> None:
    path = f"/jobs/{trained.job}/evaluation/examples"
    right, wrong = (
        trained.client.get(path, params={"right": value}).json()["data"] for value in (True, False)
    )
    assert all(each["true"] == each["predicted"] for each in right)
    assert all(each["true"] != each["predicted"] for each in wrong)
    assert len(right) + len(wrong) == len(predictions(trained))


@pytest.mark.parametrize("query", [{"true": "made up"}, {"predicted": "made up"}])
def test_a_class_that_is_not_there_is_named_with_those_that_are(
    trained: Trained, query: dict[str, str]
) -> None:
    answer = trained.client.get(f"/jobs/{trained.job}/evaluation/examples", params=query)
    problem = assert_problem(answer, 422)
    assert "made up" in problem["detail"]
    assert "red" in problem["hint"]
    assert problem["errors"][0]["pointer"] == next(iter(query))


def test_an_evaluation_of_the_first_release_has_all_of_it(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    """Its row lacks what came since; its dataset's files are gone, and so are the model's."""
    job = train(context, tmp_path)
    evaluation = write_files(context, job)
    with context.db.write() as session:
        row = session.get_one(Evaluation, evaluation.id)
        since = {"unknown_classes", "accuracy_of_known_classes", "shared_groups", "warnings", "calibration"}
        row.report = {key: row.report[key] for key in row.report.keys() - since}
    page = client.get(f"/jobs/{job.id}/evaluation/report").raise_for_status().text
    assert "2 of 4 images were answered rightly" in page
    assert page.count("This image is not in the dataset any more.") == 4
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    examples = client.get(f"/jobs/{job.id}/evaluation/examples", params={"right": False}).json()["data"]
    assert [each["item"] for each in examples] == ["img_1", "img_2"]


def test_files_of_an_evaluation_that_do_not_fit_are_an_error_that_says_what_to_do(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    job = train(context, tmp_path)
    evaluation = write_files(context, job)
    np.save(context.storage.absolute(evaluation.folder) / "probabilities.npy", np.eye(3, dtype=np.float32))
    problem = assert_problem(client.get(f"/jobs/{job.id}/evaluation/curves"), 500)
    assert problem["code"] == "storage_damaged"
    assert "loupe evaluate" in problem["hint"]
    context.storage.remove(context.storage.absolute(evaluation.folder))
    assert "are gone" in assert_problem(client.get(f"/jobs/{job.id}/evaluation/curves"), 500)["detail"]


def test_what_takes_too_long_or_too_much_is_ended_and_leaves_nothing(
    client: TestClient, context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = train(context, tmp_path)
    evaluation = write_files(context, job)
    path = f"/jobs/{job.id}/evaluation/curves"
    with monkeypatch.context() as patch:
        patch.setattr(evaluation_analyses, "MEMORY_BYTES", 1)
        assert "more memory" in assert_problem(client.get(path), 500)["detail"]
    with monkeypatch.context() as patch:
        patch.setattr(limited_child, "SECONDS", 0.0)
        assert "more than 0 s" in assert_problem(client.get(path), 500)["detail"]
    assert list(evaluation_analyses.analysis_folder(context, evaluation).glob("*")) == []
    assert [each.name for each in context.storage.scratch.iterdir()] in ([], ["matplotlib"])
    client.get(path).raise_for_status()


def test_one_process_works_at_a_time_and_few_requests_wait(
    client: TestClient, context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = train(context, tmp_path)
    write_files(context, job)
    monkeypatch.setattr(limited_child, "WAIT_SECONDS", 0.01)
    path = f"/jobs/{job.id}/evaluation/curves"
    with limited_child.taking_turn():
        answer = client.get(path)
        assert assert_problem(answer, 503)["code"] == "busy"
        assert "retry-after" in answer.headers
    client.get(path).raise_for_status()


def test_on_another_host_the_files_come_from_the_shared_storage(
    shared_context: AppContext, tmp_path: Path
) -> None:
    job = train(shared_context, tmp_path)
    evaluation = write_files(shared_context, job)
    storage = shared_context.storage
    folder = storage.absolute(evaluation.folder)
    storage.remote.upload(folder)
    storage.remove(folder)
    page = evaluation_pages.get_page(shared_context, job.id)
    assert "2 of 4 images were answered rightly" in page.read_text(encoding="utf-8")
    # What was made is this host's alone.
    assert storage.remote.list_names(folder.parent) == [folder.name]


def test_what_was_made_of_an_evaluation_goes_with_its_dataset(context: AppContext, tmp_path: Path) -> None:
    job = train(context, tmp_path)
    first = write_files(context, job)
    _, other = add_product(context)
    with context.db.write() as session:
        report = session.get_one(Evaluation, first.id).report
        folder = f"jobs/{job.id}/evaluations/other-0001"
        session.add(
            Evaluation(
                id=(number := new_id("evl")),
                job_id=job.id,
                dataset_id=other,
                is_final_test=False,
                folder=folder,
                report=report,
            )
        )
    context.storage.absolute(folder).mkdir()
    with context.db.read() as session:
        made = evaluation_analyses.analysis_folder(context, session.get_one(Evaluation, number))
    made.mkdir()
    delete_dataset(context, other, force=True)
    assert not made.exists()
    assert not context.storage.absolute(folder).exists()


def test_a_damaged_image_is_said_to_be_missing(trained: Trained) -> None:
    """The page is made anew, in another home's place of the same files."""
    [row, *_] = json.loads(
        trained.client.get(f"/datasets/{trained.dataset}/items?limit=100&job={trained.job}&split=test").text
    )["data"]
    path = image_path(trained.context.storage.images, row["sha256"])
    data = path.read_bytes()
    for made in (trained.context.storage.job(trained.job) / "evaluations").glob("*.made/report-*"):
        made.unlink()
    path.unlink()
    try:
        page = trained.client.get(f"/jobs/{trained.job}/evaluation/report").raise_for_status().text
    finally:
        path.write_bytes(data)
        for made in (trained.context.storage.job(trained.job) / "evaluations").glob("*.made/report-*"):
            made.unlink()
    assert "The file of this image is missing or damaged." in page
