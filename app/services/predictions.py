"""Predictions: which class is in this image, says the best model of the product."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.errors import LoupeError
from app.inference.labelled import judge_answer, rank_labels
from app.inference.turns import Answer, Turns
from app.schemas import prediction as schemas
from app.schemas.common import problem_from_error
from app.services.model_router import Asked
from app.services.trained_models import ModelChoice

S = TypeVar("S")
T = TypeVar("T")
Pixels = NDArray[np.uint8] | NDArray[np.float32]
"""(height, width, 3), RGB from 0 to 255, as the model's input."""


@dataclass(frozen=True)
class Picture:
    """One uploaded image file."""

    name: str | None
    data: bytes


async def predict(
    asked: Asked, turns: Turns, pictures: Sequence[Picture], *, top_k: int, max_pixels: int
) -> schemas.Predictions:
    """Classifies ``pictures``. With several, a bad one is an error in its own result; a single one raises."""

    async def predict_one(picture: Picture) -> schemas.PredictionItem:
        answer = await turns.answer(asked.predictor, picture.data, max_pixels=max_pixels)
        return _as_item(picture, answer, asked, top_k)

    if len(pictures) == 1:
        item = await predict_one(pictures[0])
        only = {name: value for name, value in item if name != "error"}
        return schemas.Predictions(model=_model_schema(asked.choice), results=[item], errors=0, **only)
    results = []
    for picture, outcome in zip(pictures, await _each(turns, pictures, predict_one), strict=True):
        if isinstance(outcome, LoupeError):
            problem = problem_from_error(outcome.as_dict(), picture.name)
            outcome = schemas.PredictionItem(name=picture.name, error=problem)
        results.append(outcome)
    return schemas.Predictions(
        model=_model_schema(asked.choice),
        results=results,
        errors=sum(item.error is not None for item in results),
    )


async def classify(
    asked: Asked, turns: Turns, images: Sequence[bytes | memoryview] | Sequence[Pixels], *, max_pixels: int
) -> tuple[NDArray[np.float32], list[schemas.PredictionTiming]]:
    """Probabilities (images, classes) of encoded images, or of what is the model's input already.

    Encoded ones have timings. A bad one raises, and its error says which.
    """
    timings: list[schemas.PredictionTiming] = []

    async def classify_one(image: bytes | memoryview | Pixels) -> NDArray[np.float32]:
        if isinstance(image, np.ndarray):
            return await turns.answer_pixels(asked.predictor, image)
        # Copied when its turn comes, not all at once.
        answer = await turns.answer(asked.predictor, bytes(image), max_pixels=max_pixels)
        timings.append(_timing(answer))
        return answer.outcome.probabilities

    answers = []
    for index, outcome in enumerate(await _each(turns, images, classify_one)):
        if isinstance(outcome, LoupeError):
            if len(images) > 1:
                outcome.detail = f"image {index} of 0 to {len(images) - 1}: {outcome.detail}"
            raise outcome
        answers.append(outcome)
    return np.stack(answers), timings


async def _each(
    turns: Turns, images: Sequence[S], answer: Callable[[S], Awaitable[T]]
) -> list[T | LoupeError]:
    """The answer to each image, or the error that is its own. An error of ours raises."""
    # No more at a time than can be worked on: images of other requests have their turns in between.
    lanes = asyncio.Semaphore(turns.width)

    async def answer_one(image: S) -> T | LoupeError:
        async with lanes:
            try:
                return await answer(image)
            except LoupeError as error:
                if error.status >= 500:
                    raise
                return error

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer_one(image)) for image in images]
    except ExceptionGroup as failed:
        # One is enough: the others were cancelled, so that the request keeps no memory any longer.
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _as_item(picture: Picture, answer: Answer, asked: Asked, top_k: int) -> schemas.PredictionItem:
    ranked = rank_labels(asked.predictor, answer.outcome, top_k)
    judgement = judge_answer(asked.predictor, answer.outcome, asked.choice.max_error)
    image = answer.image
    return schemas.PredictionItem(
        name=picture.name,
        image=schemas.PredictionImage(
            width=image.width, height=image.height, format=image.format, sha256=answer.sha256
        ),
        predictions=ranked,
        top=ranked[0],
        timing=_timing(answer),
        warnings=list(image.notes),
        **dict(judgement),
    )


def _timing(answer: Answer) -> schemas.PredictionTiming:
    return schemas.PredictionTiming(
        queue_ms=answer.queue_ms, decode_ms=answer.decode_ms, inference_ms=answer.inference_ms
    )


def _model_schema(choice: ModelChoice) -> schemas.PredictionModel:
    return schemas.PredictionModel(
        id=choice.id, product=choice.product, version=choice.version, alias=choice.alias, digest=choice.digest
    )
