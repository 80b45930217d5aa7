"""``import loupe`` against a whole Loupe: from images to a champion's answers, blocking and awaited"""

from __future__ import annotations

import asyncio
import inspect
import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import loupe as package
from docs.generate import ROOT
from loupe import AsyncLoupe, Job, JobFailedError, Loupe, LoupeError, RefusedError
from loupe.client import (
    AsyncDatasets,
    AsyncJobs,
    AsyncModels,
    AsyncProducts,
    Datasets,
    Jobs,
    Models,
    Products,
)
from loupe.pictures import Picture
from tests.conftest import Service
from tests.pictures import make_files, make_picture, make_zip
from tests.running import TINY

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def loupe(service: Service) -> Iterator[Loupe]:
    with Loupe(service.url) as connected:
        yield connected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders, and a hidden file that stays here."""
    folder = tmp_path_factory.mktemp("squares")
    for name, content in {**make_files(), ".hidden/x.png": b"x"}.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def job(loupe: Loupe, folder: Path) -> Job:
    loupe.products.create("client", name="Squares", default_network="tiny_cnn")
    dataset = loupe.datasets.create("client", folder)
    assert (dataset.status, dataset.items) == ("ready", 36)
    assert dataset.classes == {"blue": 12, "green": 12, "red": 12}
    started = loupe.jobs.create("client", dataset=dataset, hyperparameters=TINY, metadata={"from": "test"})
    return loupe.jobs.wait(started, progress=True)


def test_a_training_is_waited_for_and_read(loupe: Loupe, job: Job, tmp_path: Path) -> None:
    assert (job.status, job.network, job.became_champion) == ("succeeded", "tiny_cnn", True)
    assert job.finished_at is not None
    assert job.started_at is not None
    assert job.finished_at > job.started_at
    epochs = loupe.jobs.metrics(job).to_pandas()
    assert list(epochs.index) == [1, 2]
    assert "valid_accuracy" in epochs
    assert loupe.jobs.metrics(job).to_pandas("steps").index.name == "step"
    evaluation = loupe.jobs.evaluation(job)
    low, high = evaluation.accuracy_interval
    assert low <= evaluation.accuracy <= high
    matrix = evaluation.confusion_matrix()
    assert matrix.to_numpy().sum() == evaluation.items
    assert list(matrix.index) == ["blue", "green", "red"]
    events = loupe.jobs.events(job)
    assert [event.number for event in events] == sorted(event.number for event in events)
    assert events[-1].details["status"] == "succeeded"
    report = loupe.jobs.report(job, tmp_path / "report.html")
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_every_form_of_an_image_gets_the_same_answer(loupe: Loupe, job: Job, tmp_path: Path) -> None:
    content = make_picture("green", 7_000)
    path = tmp_path / "green.png"
    path.write_bytes(content)
    image = Image.open(io.BytesIO(content))
    forms: list[Picture] = [path, str(path), content, bytearray(content), image, np.asarray(image)]
    answers = [loupe.predict(form, product="client") for form in forms]
    assert {answer.label for answer in answers} == {"green"}
    assert len({answer.probability for answer in answers}) == 1
    assert answers[0].model == job.model
    assert answers[0].decision in ("accept", "reject")
    assert sum(answers[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert loupe.predict_many(forms, job=job.id) == [loupe.predict(form, job=job.id) for form in forms]
    assert loupe.predict_many([], product="client") == []


def test_pairs_of_images_and_labels_become_a_dataset(loupe: Loupe, job: Job) -> None:
    pairs = [
        (np.asarray(Image.open(io.BytesIO(make_picture(label, seed)))), label)
        for label in ("blue", "red")
        for seed in range(8000, 8004)
    ]
    dataset = loupe.datasets.create("client", iter(pairs))
    assert dataset.classes == {"blue": 4, "red": 4}
    assert dataset.id in [one.id for one in loupe.datasets.list("client")]
    assert loupe.datasets.report(dataset).dataset == dataset.id
    evaluation = loupe.jobs.evaluate(job, dataset)
    assert (evaluation.items, evaluation.dataset) == (8, dataset.id)
    loupe.datasets.delete(dataset, force=True)


def test_an_archive_that_cannot_be_imported_says_why(loupe: Loupe, job: Job, tmp_path: Path) -> None:
    archive = tmp_path / "empty.zip"
    archive.write_bytes(make_zip({"a/notes.txt": b"no image"}))
    with pytest.raises(JobFailedError) as raised:
        loupe.datasets.create(job.product, archive)
    assert raised.value.status == "failed"
    assert raised.value.problem["code"]


def test_what_the_server_refuses_has_its_code_and_hint(loupe: Loupe, job: Job) -> None:
    with pytest.raises(RefusedError) as raised:
        loupe.jobs.get("job_nothing")
    assert (raised.value.status, raised.value.code) == (404, "not_found")
    with pytest.raises(RefusedError) as raised:
        loupe.jobs.create(job.product, hyperparameters={"epochs": -1})
    assert raised.value.errors[0][0] == "/hyperparameters/epochs"
    with pytest.raises(RefusedError) as raised:
        loupe.predict(b"no image", product="client")
    assert raised.value.status == 422
    with pytest.raises(LoupeError, match="one of product, job or model"):
        loupe.predict(b"x")
    with pytest.raises(LoupeError, match="float64"):
        loupe.predict(np.zeros((2, 2)), product="client")


def test_a_job_that_takes_longer_than_one_waits_goes_on(loupe: Loupe, job: Job) -> None:
    started = loupe.jobs.create(job.product, hyperparameters={**TINY, "epochs": 2000})
    with pytest.raises(TimeoutError):
        loupe.jobs.wait(started, timeout=0.2)
    loupe.jobs.cancel(started)
    with pytest.raises(JobFailedError):
        loupe.jobs.wait(started)
    assert loupe.jobs.wait(started, check=False).status == "cancelled"


def test_models_are_listed_promoted_and_saved(loupe: Loupe, job: Job, tmp_path: Path) -> None:
    [model] = [one for one in loupe.models.list("client") if one.job == job.id]
    assert model.id == job.model
    promoted = loupe.models.promote(model, alias="line-1", reason="a test")
    assert "line-1" in promoted.aliases
    saved = loupe.models.save(model, tmp_path / "model.zip")
    assert saved.stat().st_size > 1000


def test_awaited_it_does_the_same(service: Service, job: Job, tmp_path: Path) -> None:
    async def walk() -> None:
        async with AsyncLoupe(service.url) as loupe:
            assert (await loupe.products.get("client")).champion == job.model
            names = ("blue", "green", "red")
            images = [make_picture(label, 9_000) for label in names]
            answers = await asyncio.gather(*(loupe.predict(image, product="client") for image in images))
            assert tuple(answer.label for answer in answers) == names
            dataset = await loupe.datasets.create("client", [(images[0], "blue"), (images[1], "green")])
            assert dataset.items == 2
            await loupe.datasets.delete(dataset)
            assert (await loupe.jobs.wait(job)).id == job.id
            report = await loupe.jobs.report(job, tmp_path / "report.html")
            assert report.stat().st_size > 1000
            with pytest.raises(RefusedError):
                await loupe.models.get("mdl_nothing")

    asyncio.run(walk())


@pytest.mark.parametrize(
    ("blocking", "awaited"),
    [
        (Products, AsyncProducts),
        (Datasets, AsyncDatasets),
        (Jobs, AsyncJobs),
        (Models, AsyncModels),
        (Loupe, AsyncLoupe),
    ],
)
def test_both_have_the_same_verbs(blocking: type, awaited: type) -> None:
    def verbs(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_") and name not in ("close", "server")}

    assert verbs(blocking) == verbs(awaited)


def test_every_verb_says_what_it_does(loupe: Loupe) -> None:
    for owner in (loupe, loupe.products, loupe.datasets, loupe.jobs, loupe.models):
        for name in vars(type(owner)):
            if not name.startswith("_") and name not in ("close", "server"):
                verb = getattr(owner, name)
                assert verb.__doc__, name
                assert "Steps" not in str(inspect.signature(verb)), name
    assert all(getattr(package, name).__doc__ for name in package.__all__)


def test_every_block_of_the_document_runs(
    service: Service, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order, in one program, as a reader would."""
    assert job.status == "succeeded"
    for name, content in make_files(8, labels=("green", "red")).items():
        path = tmp_path / "screws" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "new.jpg").write_bytes(make_picture("red", 1, image_format="JPEG"))
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8").replace("http://127.0.0.1:8000", service.url)
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 5
    exec(compile("\n".join(blocks), "docs/python.md", "exec"), {})
    with Loupe(service.url) as again:  # other documents make the same product
        again.products.delete("screws", force=True)


def test_images_of_custom_vision_come_over_as_the_document_says(
    loupe: Loupe, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/coming-from.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    tagged = []
    for name, content in make_files(2, labels=("green", "red")).items():
        (tmp_path / Path(name).name).write_bytes(content)
        tags = [SimpleNamespace(tag_name=Path(name).parent.name)]
        uri = (tmp_path / Path(name).name).as_uri()
        tagged.append(SimpleNamespace(original_image_uri=uri, tags=tags))
    trainer = SimpleNamespace(get_tagged_images=lambda _, take, skip: tagged[skip : skip + min(take, 3)])
    names: dict[str, Any] = {}
    exec(compile(block, "docs/coming-from.md", "exec"), names)
    monkeypatch.setenv("LOUPE_SERVER", service.url)
    loupe.products.create("theirs")

    brought = names["bring"](trainer, "project", "theirs")

    assert brought.classes == {"green": 2, "red": 2}
