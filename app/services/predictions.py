"""Predictions: which class is in this image, says the best model of the product."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.context import AppContext
from app.errors import ArtifactError, LoupeError, UnavailableError
from app.images.decode import decode_image
from app.inference.cache import ModelCache
from app.inference.predictor import Predictor
from app.schemas import prediction as schemas
from app.schemas.common import problem_from_error
from app.services.trained_models import ModelChoice, choose_model
from app.storage.home import Storage

logger = logging.getLogger(__name__)

MAX_CHOICES = 10_000


@dataclass(frozen=True)
class Picture:
    """One uploaded image file."""

    name: str | None
    data: bytes


def predict(
    context: AppContext,
    cache: ModelCache,
    pictures: Sequence[Picture],
    *,
    product: str | None,
    job: str | None,
    model: str | None,
    top_k: int,
) -> schemas.Predictions:
    """Classifies ``pictures``. With several, a bad one is an error in its own result; a single one raises."""
    began = time.perf_counter()
    choice = _choose(context, product=product, job=job, model=model)
    predictor = _load(context.storage, cache, choice)
    queue_ms = _milliseconds_since(began)
    results = []
    for picture in pictures:
        try:
            results.append(_predict_one(predictor, picture, top_k, queue_ms, context.settings.max_pixels))
        except LoupeError as error:
            if len(pictures) == 1 or error.status >= 500:
                raise
            problem = problem_from_error(error.as_dict(), picture.name)
            results.append(schemas.PredictionItem(name=picture.name, error=problem))
    answer = schemas.Predictions(
        model=_model_schema(choice), results=results, errors=sum(item.error is not None for item in results)
    )
    if len(results) == 1:
        only = {
            name: getattr(results[0], name) for name in schemas.PredictionItem.model_fields if name != "error"
        }
        answer = schemas.Predictions(**{**dict(answer), **only})
    return answer


def _load(storage: Storage, cache: ModelCache, choice: ModelChoice) -> Predictor:
    """Where the home folder is a cache, a model that is damaged there is downloaded again."""
    folder = storage.absolute(choice.folder)
    if choice.id not in cache.loaded():
        storage.remote.download(folder)
    try:
        return cache.get(choice.id, folder, digest=choice.digest)
    except ArtifactError as error:
        if not storage.remote.download_again(folder):
            raise
        logger.warning("model %s was damaged here and was downloaded again: %s", choice.id, error.detail)
        return cache.get(choice.id, folder, digest=choice.digest)


def _choose(context: AppContext, *, product: str | None, job: str | None, model: str | None) -> ModelChoice:
    """While the database is away, the same question leads to the same model as it did before."""
    question = (product, job, model)
    try:
        choice = choose_model(context, product=product, job=job, model=model)
    except UnavailableError:
        last: ModelChoice | None = context.last_choices.get(question)
        if last is None:
            raise
        return last
    if len(context.last_choices) >= MAX_CHOICES:
        context.last_choices.clear()
    context.last_choices[question] = choice
    return choice


def _predict_one(
    predictor: Predictor, picture: Picture, top_k: int, queue_ms: float, max_pixels: int
) -> schemas.PredictionItem:
    began = time.perf_counter()
    image = decode_image(picture.data, max_pixels=max_pixels, pixel_range=predictor.pixel_range)
    decode_ms = _milliseconds_since(began)
    began = time.perf_counter()
    probabilities = predictor.predict(image.pixels)
    inference_ms = _milliseconds_since(began)
    labels = predictor.labels
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    ranked = [
        schemas.PredictedLabel(label=labels[index], index=int(index), probability=float(probabilities[index]))
        for index in order
    ]
    return schemas.PredictionItem(
        name=picture.name,
        image=schemas.PredictionImage(
            width=image.width,
            height=image.height,
            format=image.format,
            sha256=hashlib.sha256(picture.data).hexdigest(),
        ),
        predictions=ranked,
        top=ranked[0],
        timing=schemas.PredictionTiming(queue_ms=queue_ms, decode_ms=decode_ms, inference_ms=inference_ms),
        warnings=list(image.notes),
    )


def _model_schema(choice: ModelChoice) -> schemas.PredictionModel:
    return schemas.PredictionModel(
        id=choice.id, product=choice.product, version=choice.version, alias=choice.alias, digest=choice.digest
    )


def _milliseconds_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
