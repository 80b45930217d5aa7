"""What the API says of an evaluation that another release has written."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from app.context import AppContext
from app.models import Evaluation
from app.services import evaluations
from tests.services.rows import train

KEYS = ("unknown_classes", "accuracy_of_known_classes")


@pytest.mark.parametrize("stored", [{}, {"unknown_classes": [], "accuracy_of_known_classes": None}])
def test_an_evaluation_of_the_first_release_knew_all_classes(
    context: AppContext, tmp_path: Path, stored: dict[str, object]
) -> None:
    """Its worker stored neither figure; what its child left, a newer worker stored with empty ones."""
    job = train(context, tmp_path)
    with context.db.write() as session:
        row = session.scalars(select(Evaluation)).one()
        row.report = {**{key: row.report[key] for key in row.report.keys() - set(KEYS)}, **stored}
    found = evaluations.get_evaluation(context, job.id)
    assert found.unknown_classes == []
    assert found.accuracy_of_known_classes == found.metrics["accuracy"]
