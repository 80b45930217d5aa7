"""Models as clients of the Open Inference Protocol name them: a name, and a version that may be missing."""

from __future__ import annotations

import re

from app.context import AppContext
from app.errors import NotFoundError
from app.inference.cache import ModelCache
from app.services.predictions import Asked, find_model

_MODEL_ID = re.compile(r"mdl_[0-9a-z]{26}")


def question_of(name: str, version: str | None) -> tuple[str | None, str | None, str | None]:
    """The product, job and model that a name stands for: a product, or the id of a model."""
    if _MODEL_ID.fullmatch(name):
        return None, None, name
    return name if version is None else f"{name}@{version}", None, None


def find_named_model(context: AppContext, cache: ModelCache, name: str, version: str | None) -> Asked:
    """Loaded. ``version``: a number or an alias; None: the champion. Blocks meanwhile."""
    product, job, model = question_of(name, version)
    asked = find_model(context, cache, product=product, job=job, model=model)
    if model is not None and version not in (None, str(asked.choice.version)):
        raise NotFoundError(
            f"Model {model} is version {asked.choice.version} of product {asked.choice.product!r}, "
            f"not {str(version)[:100]!r}.",
            hint="Leave the version out, or name the product instead of the model.",
        )
    return asked
