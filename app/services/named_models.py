"""Models as clients of the Open Inference Protocol name them: a name, and a version that may be missing."""

from __future__ import annotations

import re

from app.errors import NotFoundError
from app.services.model_router import Question
from app.services.trained_models import ModelChoice

_MODEL_ID = re.compile(r"mdl_[0-9a-z]{26}")


def question_of(name: str, version: str | None, seen: frozenset[str] | None) -> Question:
    """What a name stands for: a product, or the id of a model. ``seen``: the products that the key sees."""
    if _MODEL_ID.fullmatch(name):
        return Question(None, None, name, seen)
    return Question(name if version is None else f"{name}@{version}", None, None, seen)


def check_version(question: Question, version: str | None, choice: ModelChoice) -> None:
    """Raises NotFoundError where a model's id was named with a version that is not its own."""
    if question.model is not None and version not in (None, str(choice.version)):
        raise NotFoundError(
            f"Model {choice.id} is version {choice.version} of product {choice.product!r}, "
            f"not {str(version)[:100]!r}.",
            hint="Leave the version out, or name the product instead of the model.",
        )
