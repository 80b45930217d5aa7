"""What a program can do, verb by verb, as steps (``loupe/steps.py``)."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from loupe import records
from loupe.bars import Bar
from loupe.errors import JobFailedError, LoupeError, RefusedError
from loupe.pictures import Picture, open_images, read_picture
from loupe.records import Dataset, Evaluation, Event, Job, Metrics, Model, Prediction, Product, Report
from loupe.steps import Ask, Pause, Steps

R = TypeVar("R", bound=records.Record)

PAGE = 100
WAIT_SECONDS = 30.0
"""How long the server may hold a question for a job's end."""
LOOK_SECONDS = 1.0


def _part(value: str) -> str:
    """An id or a name as one part of a path."""
    if value in ("", ".", ".."):
        raise LoupeError(f"{value!r} is no id.")
    return quote(value, safe="")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _key() -> dict[str, str]:
    """Makes a creation safe to repeat: the server answers the second one as the first."""
    return {"Idempotency-Key": str(uuid.uuid4())}


def _list(record: type[R], path: str, **params: Any) -> Steps[list[R]]:
    """Every row, page by page."""
    rows: list[R] = []
    after: str | None = None
    while True:
        page = yield Ask("GET", path, params=_given(limit=PAGE, after=after, **params))
        rows += [record.of(row) for row in page["data"]]
        if not page["has_more"]:
            return rows
        after = page["next_cursor"]


def _id(thing: str | records.Record) -> str:
    return thing if isinstance(thing, str) else str(thing.data["id"])


# Products


def create_product(
    product: str,
    *,
    name: str | None = None,
    default_network: str | None = None,
    min_accuracy: float | None = None,
    max_error: float | None = None,
) -> Steps[Product]:
    """Makes a product: something whose images are to be classified.

    ``min_accuracy``: least test accuracy of a champion. ``max_error``: most wrong answers among the accepted.
    """
    body = _given(
        id=product,
        name=name,
        default_network=default_network,
        gate=None if min_accuracy is None else {"min_accuracy": min_accuracy},
        promise=None if max_error is None else {"max_error": max_error},
    )
    return Product.of((yield Ask("POST", "/products", json=body, headers=_key())))


def get_product(product: str) -> Steps[Product]:
    """One product. Raises RefusedError with the code ``not_found``."""
    return Product.of((yield Ask("GET", f"/products/{_part(product)}")))


def list_products() -> Steps[list[Product]]:
    """All products."""
    return (yield from _list(Product, "/products"))


def delete_product(product: str | Product, *, force: bool = False) -> Steps[None]:
    """Deletes a product; ``force``: with its datasets, jobs and models."""
    yield Ask("DELETE", f"/products/{_part(_id(product))}", params=_given(force=force or None))


def roll_back_product(product: str | Product, *, reason: str | None = None) -> Steps[None]:
    """Makes the champion before this one the champion again."""
    body = _given(reason=reason)
    yield Ask("POST", f"/products/{_part(_id(product))}/rollback", json=body, is_repeatable=False)


# Datasets


def create_dataset(
    product: str | Product,
    images: str | os.PathLike[str] | Iterable[tuple[Picture, str]],
    *,
    wait: bool = True,
    progress: bool = False,
    **choices: str,
) -> Steps[Dataset]:
    """Imports images: a folder with one folder a class, a zip or tar of it, or pairs of (image, label).

    ``wait``: returns once it is imported, and raises JobFailedError if it could not be. ``choices``:
    ``group_by``, ``class_level``, ``labels`` and what else the import asks, see ``POST
    /products/{product}/datasets``.
    """
    name, media_type, size, content = open_images(images)
    headers = {"Content-Type": media_type, "X-Filename": quote(name), **_key()}
    if size is not None:
        headers["Content-Length"] = str(size)
    # Only what can be read once more can be sent once more.
    is_repeatable = isinstance(images, str | os.PathLike | Sequence)
    answer = yield Ask(
        "POST",
        f"/products/{_part(_id(product))}/datasets",
        params=choices,
        headers=headers,
        content=content,
        is_repeatable=is_repeatable,
    )
    dataset = Dataset.of(answer)
    return (yield from wait_for_dataset(dataset, progress=progress)) if wait else dataset


def get_dataset(dataset: str) -> Steps[Dataset]:
    """One dataset."""
    return Dataset.of((yield Ask("GET", f"/datasets/{_part(dataset)}")))


def list_datasets(product: str | Product) -> Steps[list[Dataset]]:
    """The datasets of a product, newest first."""
    return (yield from _list(Dataset, f"/products/{_part(_id(product))}/datasets"))


def wait_for_dataset(
    dataset: str | Dataset, *, timeout: float | None = None, progress: bool = False
) -> Steps[Dataset]:
    """The dataset once it is imported. Raises JobFailedError; TimeoutError after ``timeout`` seconds."""
    found = yield from get_dataset(_id(dataset))
    if found.status == "importing" and found.job is not None:
        yield from wait_for_job(found.job, timeout=timeout, progress=progress)
        found = yield from get_dataset(found.id)
    if found.status == "failed":
        raise JobFailedError(found.job or found.id, "failed", found.data["error"])
    return found


def get_report(dataset: str | Dataset) -> Steps[Report]:
    """What the import noticed: skipped files, duplicates, odd sizes, advice."""
    return Report.of((yield Ask("GET", f"/datasets/{_part(_id(dataset))}/report")))


def delete_dataset(dataset: str | Dataset, *, force: bool = False) -> Steps[None]:
    """Deletes a dataset; ``force``: although jobs were trained on it."""
    yield Ask("DELETE", f"/datasets/{_part(_id(dataset))}", params=_given(force=force or None))


# Jobs


def create_job(
    product: str | Product,
    *,
    dataset: str | Dataset | None = None,
    network: str | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    split: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    **settings: Any,
) -> Steps[Job]:
    """Starts a training.

    Without ``dataset`` it learns from the newest that can be trained on. ``network``: else the product's.
    ``settings``: further fields of ``POST /jobs``, such as ``device``.
    """
    body = _given(
        product=_id(product),
        dataset=None if dataset is None else _id(dataset),
        network=network,
        hyperparameters=hyperparameters,
        split=split,
        metadata=metadata,
        **settings,
    )
    return Job.of((yield Ask("POST", "/jobs", json=body, headers=_key())))


def get_job(job: str) -> Steps[Job]:
    """One job as it is now."""
    return Job.of((yield Ask("GET", f"/jobs/{_part(job)}")))


def list_jobs(
    product: str | Product | None = None, *, status: str | None = None, kind: str | None = None
) -> Steps[list[Job]]:
    """Jobs, newest first: of a product, with a status, of a kind such as ``training``."""
    wanted = None if product is None else _id(product)
    return (yield from _list(Job, "/jobs", product=wanted, status=status, kind=kind))


def wait_for_job(
    job: str | Job, *, timeout: float | None = None, progress: bool = False, check: bool = True
) -> Steps[Job]:
    """The job once it has ended, also over a restart of the server.

    ``progress``: shows a bar. ``check``: raises JobFailedError unless it succeeded. Raises TimeoutError after
    ``timeout`` seconds; the job goes on.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with Bar(is_shown=progress) as bar:
        while True:
            left = WAIT_SECONDS if deadline is None else deadline - time.monotonic()
            held = LOOK_SECONDS if progress else min(WAIT_SECONDS, max(0.0, left))
            found = Job.of((yield Ask("GET", f"/jobs/{_part(_id(job))}", params={"wait": held})))
            bar.show(found)
            if found.has_ended:
                break
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"The job {found.id} is {found.status} after {timeout:g} s, and goes on.")
            if found.status == "paused":
                yield Pause(LOOK_SECONDS)
    if check and found.status != "succeeded":
        raise JobFailedError(found.id, found.status, found.error)
    return found


def _verb_of_job(job: str | Job, verb: str) -> Steps[Job]:
    return Job.of((yield Ask("POST", f"/jobs/{_part(_id(job))}/{verb}")))


def cancel_job(job: str | Job) -> Steps[Job]:
    """Ends a job and throws away what it did."""
    return (yield from _verb_of_job(job, "cancel"))


def stop_job(job: str | Job) -> Steps[Job]:
    """Ends a training early and keeps what it has learned: its best epoch becomes a model."""
    return (yield from _verb_of_job(job, "stop"))


def pause_job(job: str | Job) -> Steps[Job]:
    """Lets a training rest; ``resume`` goes on at the very step."""
    return (yield from _verb_of_job(job, "pause"))


def resume_job(job: str | Job) -> Steps[Job]:
    """Goes on with a paused job."""
    return (yield from _verb_of_job(job, "resume"))


def delete_job(job: str | Job) -> Steps[None]:
    """Deletes a job that has ended, with its model and files."""
    yield Ask("DELETE", f"/jobs/{_part(_id(job))}")


def get_metrics(job: str | Job, *, max_points: int = 2000) -> Steps[Metrics]:
    """The series of a training, also while it runs; its steps thinned to ``max_points``."""
    path = f"/jobs/{_part(_id(job))}/metrics"
    return Metrics.of((yield Ask("GET", path, params={"max_points": max_points})))


def list_events(job: str | Job) -> Steps[list[Event]]:
    """What happened to a job, oldest first."""
    return (yield from _list(Event, f"/jobs/{_part(_id(job))}/events"))


def get_evaluation(job: str | Job, *, dataset: str | Dataset | None = None) -> Steps[Evaluation]:
    """How good a training's model is: on its test split, or on a dataset that ``evaluate`` asked about."""
    params = _given(dataset=None if dataset is None else _id(dataset))
    return Evaluation.of((yield Ask("GET", f"/jobs/{_part(_id(job))}/evaluation", params=params)))


def evaluate_job(
    job: str | Job, dataset: str | Dataset, *, timeout: float | None = None, progress: bool = False
) -> Steps[Evaluation]:
    """Measures a training's model on all images of another dataset of its product, and waits for that."""
    path = f"/jobs/{_part(_id(job))}/evaluations"
    started = yield Ask("POST", path, json={"dataset": _id(dataset)}, headers=_key())
    yield from wait_for_job(started["id"], timeout=timeout, progress=progress)
    return (yield from get_evaluation(job, dataset=dataset))


def save_report(job: str | Job, to: str | os.PathLike[str]) -> Steps[Path]:
    """Writes the report of an evaluation: one HTML file that needs no network."""
    path = Path(to)
    yield Ask("GET", f"/jobs/{_part(_id(job))}/evaluation/report", to=path)
    return path


# Models


def get_model(model: str) -> Steps[Model]:
    """One model."""
    return Model.of((yield Ask("GET", f"/models/{_part(model)}")))


def list_models(product: str | Product | None = None) -> Steps[list[Model]]:
    """Models, newest first."""
    return (yield from _list(Model, "/models", product=None if product is None else _id(product)))


def promote_model(
    model: str | Model, *, alias: str = "champion", reason: str | None = None, override: bool = False
) -> Steps[Model]:
    """Points an alias at a model; ``override``: although it failed its gate, which the history records."""
    found = (yield from get_model(model)) if isinstance(model, str) else model
    body = _given(model=found.id, reason=reason, override=override or None)
    yield Ask("PUT", f"/products/{_part(found.product)}/aliases/{_part(alias)}", json=body)
    return (yield from get_model(found.id))


def save_model(model: str | Model, to: str | os.PathLike[str], *, format: str | None = None) -> Steps[Path]:
    """Writes a model as a file that needs no Loupe; ``format``: one of its exports, such as ``onnx``."""
    path = Path(to)
    yield Ask("GET", f"/models/{_part(_id(model))}/artifact", params=_given(format=format), to=path)
    return path


# Predictions


def _target(product: str | None, job: str | None, model: str | None) -> dict[str, str]:
    target = _given(product=product, job=job, model=model)
    if len(target) != 1:
        raise LoupeError("Name who answers: one of product, job or model.")
    return target


def predict(
    image: Picture,
    *,
    product: str | None = None,
    job: str | None = None,
    model: str | None = None,
    top_k: int = 5,
) -> Steps[Prediction]:
    """What an image shows. Raises RefusedError for what is no image that the server reads.

    ``image``: a path, the bytes of an image file, a Pillow image, or an array of uint8. ``product``: its
    champion answers, or ``product@alias``.
    """
    found = yield from predict_many([image], product=product, job=job, model=model, top_k=top_k)
    return found[0]


def predict_many(
    images: Iterable[Picture],
    *,
    product: str | None = None,
    job: str | None = None,
    model: str | None = None,
    top_k: int = 5,
) -> Steps[list[Prediction]]:
    """What each of some images shows, in their order and in one request.

    Raises RefusedError if one is no image.
    """
    files = tuple(read_picture(image) for image in images)
    if not files:
        return []
    fields = {**_target(product, job, model), "top_k": str(top_k)}
    answer = yield Ask("POST", "/predict", files=files, fields=fields)
    for item in answer["results"]:
        if item["error"] is not None:
            raise RefusedError(int(item["error"].get("status", 422)), item["error"])
    return [Prediction.of_item(answer["model"]["id"], item) for item in answer["results"]]
