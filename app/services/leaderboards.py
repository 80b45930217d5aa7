"""All models of a product on the same images: each two are compared on the test images that both have."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import StorageDamagedError
from app.models import Alias, Evaluation, TrainedModel
from app.models.alias import CHAMPION
from app.schemas import leaderboard as schemas
from app.schemas.common import Estimate
from app.services.evaluations import PREDICTIONS
from app.services.products import require_product
from app.services.proportions import FEWEST_DIFFERENCES, SIGNIFICANCE, mcnemar, wilson

MOST_BYTES = 2**24
"""Of a table: 10,000 images of 150 classes."""
LEAST_SHARED = 0.5
"""The share of the common images that a model must have been tested on to get a place."""


@dataclass(frozen=True)
class Outcomes:
    """``items``: ids of test images, sorted; ``right``: whether the answer to each was."""

    items: NDArray[Any]
    right: NDArray[np.bool_]

    def of(self, items: NDArray[Any]) -> NDArray[np.bool_]:
        """Those of ``items``, which are all among its own."""
        return self.right[np.searchsorted(self.items, items)]


def get_leaderboard(
    context: AppContext, product_id: str, *, limit: int, jobs: Sequence[str] = ()
) -> schemas.Leaderboard:
    """Of the newest ``limit`` models of the product, or of those that ``jobs`` made. Raises NotFoundError,
    StorageDamagedError.
    """
    with context.db.read() as session:
        require_product(session, product_id)
        asked = select(TrainedModel).where(TrainedModel.product_id == product_id)
        if jobs:
            asked = asked.where(TrainedModel.job_id.in_(jobs))
        models = session.scalars(asked.order_by(TrainedModel.version.desc()).limit(limit)).all()
        folders = _final_tests(session, [model.id for model in models])
        aliases = session.execute(
            select(Alias.model_id, Alias.name).where(Alias.product_id == product_id).order_by(Alias.name)
        ).all()
    champion = next((model for model, name in aliases if name == CHAMPION), None)
    outcomes = {
        model: found
        for model, folder in folders.items()
        if (found := _read_outcomes(context.storage.remote.download(context.storage.absolute(folder))))
    }
    common = _find_common(outcomes, [champion, *(model.id for model in models)])
    rows = [
        _describe(model, [name for of, name in aliases if of == model.id], outcomes, common, champion)
        for model in models
    ]
    rows.sort(key=lambda row: (row.common is None, -(row.common or row.accuracy).value))
    for place, row in enumerate(rows, start=1):
        row.place = place if row.common is not None else None
    return schemas.Leaderboard(
        product=product_id,
        champion=champion,
        common_images=len(common),
        models=rows,
        pairs=_compare_all(outcomes, [row.model for row in rows]),
    )


def _final_tests(session: Session, models: Sequence[str]) -> dict[str, str]:
    """The folder of the newest final test of each model that has one."""
    found = session.execute(
        select(Evaluation.model_id, Evaluation.folder)
        .where(Evaluation.model_id.in_(models), Evaluation.is_final_test)
        .order_by(Evaluation.created_at)
    )
    return {str(model): folder for model, folder in found}


@lru_cache(maxsize=256)
def _read_outcomes(folder: Path) -> Outcomes | None:
    """From the table of an evaluation, which never changes; None for one too large to read in a request."""
    try:
        if (folder / PREDICTIONS).stat().st_size > MOST_BYTES:
            return None
        with (folder / PREDICTIONS).open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            next(rows)
            found = sorted((row[0], row[2] == row[3]) for row in rows)
    except (OSError, StopIteration, IndexError) as error:
        raise StorageDamagedError(
            f"{folder / PREDICTIONS} cannot be read: {error}.",
            hint="Evaluate the job again: `POST /jobs/JOB/evaluations`.",
        ) from error
    return Outcomes(np.array([item for item, _ in found]), np.array([right for _, right in found], bool))


def _find_common(outcomes: dict[str, Outcomes], order: Sequence[str | None]) -> NDArray[Any]:
    """Test images that many models share: of the first of ``order``, then of each that shares enough."""
    common: NDArray[Any] | None = None
    for model in order:
        if model not in outcomes:
            continue
        items = outcomes[model].items
        if common is None:
            common = items
            continue
        shared = np.intersect1d(common, items, assume_unique=True)
        if len(shared) >= LEAST_SHARED * len(common):
            common = shared
    return np.array([]) if common is None else common


def _describe(
    model: TrainedModel,
    aliases: list[str],
    outcomes: dict[str, Outcomes],
    common: NDArray[Any],
    champion: str | None,
) -> schemas.LeaderboardEntry:
    own = outcomes.get(model.id)
    accuracy = model.metrics["accuracy"]
    has_all = own is not None and len(common) > 0 and bool(np.isin(common, own.items).all())
    other = outcomes.get(champion) if champion is not None and champion != model.id else None
    return schemas.LeaderboardEntry(
        place=None,
        model=model.id,
        version=model.version,
        network=model.network,
        job=model.job_id,
        aliases=aliases,
        passed_gate=model.passed_gate is not False,
        accuracy=Estimate(**{name: accuracy[name] for name in ("value", "low", "high")}),
        items=0 if own is None else len(own.items),
        common=wilson(float(own.of(common).mean()), len(common)) if own is not None and has_all else None,
        against_champion=_compare(own, other) if own is not None and other is not None else None,
        created_at=model.created_at,
    )


def _compare_all(outcomes: dict[str, Outcomes], models: Sequence[str]) -> list[schemas.Pair]:
    pairs = []
    for first, second in itertools.combinations([one for one in models if one in outcomes], 2):
        found = _compare(outcomes[first], outcomes[second])
        if found is not None:
            pairs.append(schemas.Pair(first=first, second=second, **found.model_dump()))
    return pairs


def _compare(this: Outcomes, other: Outcomes) -> schemas.Comparison | None:
    shared = np.intersect1d(this.items, other.items, assume_unique=True)
    if not len(shared):
        return None
    mine, theirs = this.of(shared), other.of(shared)
    only_this, only_other = int((mine & ~theirs).sum()), int((~mine & theirs).sum())
    p_value = mcnemar(only_this, only_other)
    verdict: schemas.Verdict = "no_difference_shown"
    if only_this + only_other < FEWEST_DIFFERENCES:
        verdict = "too_few_images"
    elif p_value < SIGNIFICANCE:
        verdict = "better" if only_this > only_other else "worse"
    return schemas.Comparison(
        images=len(shared),
        both_right=int((mine & theirs).sum()),
        only_this_right=only_this,
        only_other_right=only_other,
        p_value=p_value,
        verdict=verdict,
    )
