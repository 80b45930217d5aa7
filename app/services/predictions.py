"""Predictions: which class is in this image, says the best model of the product."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.errors import LoupeError
from app.inference.turns import Answer, Turns
from app.schemas import prediction as schemas
from app.schemas.common import problem_from_error
from app.services.model_router import Asked
from app.services.trained_models import ModelChoice


@dataclass(frozen=True)
class Picture:
    """One uploaded image file."""

    name: str | None
    data: bytes


async def predict(
    asked: Asked, turns: Turns, pictures: Sequence[Picture], *, top_k: int, max_pixels: int
) -> schemas.Predictions:
    """Classifies ``pictures``. With several, a bad one is an error in its own result; a single one raises."""
    # No more at a time than can be worked on: images of other requests have their turns in between.
    lanes = asyncio.Semaphore(turns.width)

    async def predict_one(picture: Picture) -> schemas.PredictionItem | LoupeError:
        async with lanes:
            try:
                answer = await turns.answer(asked.predictor, picture.data, max_pixels=max_pixels)
            except LoupeError as error:
                if error.status >= 500:
                    raise
                return error
        return _as_item(picture, answer, asked.predictor.labels, top_k)

    if len(pictures) == 1:
        outcome = await predict_one(pictures[0])
        if isinstance(outcome, LoupeError):
            raise outcome
        only = {name: value for name, value in outcome if name != "error"}
        return schemas.Predictions(model=_model_schema(asked.choice), results=[outcome], errors=0, **only)
    try:
        async with asyncio.TaskGroup() as group:
            outcomes = [group.create_task(predict_one(picture)) for picture in pictures]
    except ExceptionGroup as failed:
        # One is enough: the others were cancelled, so that the request keeps no memory any longer.
        raise failed.exceptions[0] from None
    results = []
    for picture, outcome in zip(pictures, (task.result() for task in outcomes), strict=True):
        if isinstance(outcome, LoupeError):
            problem = problem_from_error(outcome.as_dict(), picture.name)
            outcome = schemas.PredictionItem(name=picture.name, error=problem)
        results.append(outcome)
    return schemas.Predictions(
        model=_model_schema(asked.choice),
        results=results,
        errors=sum(item.error is not None for item in results),
    )


def _as_item(picture: Picture, answer: Answer, labels: Sequence[str], top_k: int) -> schemas.PredictionItem:
    order = np.argsort(-answer.probabilities, kind="stable")[:top_k]
    ranked = [
        schemas.PredictedLabel(
            label=labels[index], index=int(index), probability=float(answer.probabilities[index])
        )
        for index in order
    ]
    image = answer.image
    return schemas.PredictionItem(
        name=picture.name,
        image=schemas.PredictionImage(
            width=image.width, height=image.height, format=image.format, sha256=answer.sha256
        ),
        predictions=ranked,
        top=ranked[0],
        timing=schemas.PredictionTiming(
            queue_ms=answer.queue_ms, decode_ms=answer.decode_ms, inference_ms=answer.inference_ms
        ),
        warnings=list(image.notes),
    )


def _model_schema(choice: ModelChoice) -> schemas.PredictionModel:
    return schemas.PredictionModel(
        id=choice.id, product=choice.product, version=choice.version, alias=choice.alias, digest=choice.digest
    )
