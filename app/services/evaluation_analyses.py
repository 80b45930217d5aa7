"""What follows from an evaluation's files: curves, and the answers in an order to look at them.

It is made at the first request, for evaluations of any age, and kept on this host beside their files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from app.context import AppContext
from app.errors import FieldError, InvalidRequestError, StorageDamagedError
from app.evaluation.analysis.files import CURVES, FILES, open_answers, read_answers
from app.evaluation.analysis.spec import AnalysisResult, AnalysisSpec, Curves
from app.evaluation.figures import Calibration
from app.models import Evaluation
from app.schemas import evaluation as schemas
from app.schemas.common import Page
from app.schemas.message import parse_message
from app.services.evaluations import require_evaluation
from app.services.limited_child import MEMORY_BYTES, run_limited, taking_turn
from app.services.pages import decode_offset, encode_cursor

FORMAT_VERSION = 1
"""Of what an analysis leaves: of another version it is made anew."""


def get_curves(context: AppContext, job_id: str, dataset_id: str | None = None) -> schemas.EvaluationCurves:
    """ROC, precision against recall, risk against coverage, and reliability, each with its area or error."""
    with context.db.read() as session:
        evaluation = require_evaluation(session, job_id, dataset_id)
    data = (ensure_analysis(context, evaluation) / CURVES).read_bytes()
    curves = parse_message(Curves, data, CURVES)
    return schemas.EvaluationCurves(
        job=evaluation.job_id, dataset=evaluation.dataset_id, **curves.model_dump()
    )


def list_examples(
    context: AppContext,
    job_id: str,
    dataset_id: str | None,
    *,
    true: str | None,
    predicted: str | None,
    is_right: bool | None,
    limit: int,
    after: str | None,
) -> Page[schemas.EvaluationExample]:
    """The images of a class, or answered with one, the surest answer first. Raises InvalidRequestError."""
    with context.db.read() as session:
        evaluation = require_evaluation(session, job_id, dataset_id)
    classes = classes_of(evaluation)
    folder = ensure_analysis(context, evaluation)
    rows = open_answers(folder)
    wanted = np.ones(len(rows), bool)
    for column, name in (("true", true), ("predicted", predicted)):
        if name is not None:
            wanted &= rows[column] == _index_of(classes, column, name)
    if is_right is not None:
        wanted &= (rows["true"] == rows["predicted"]) == is_right
    start = decode_offset(after)
    found = np.flatnonzero(wanted)
    answers = read_answers(folder, rows[found[start : start + limit]])
    has_more = start + len(answers) < len(found)
    return Page[schemas.EvaluationExample](
        data=[
            schemas.EvaluationExample(
                item=answer.item,
                name=answer.name,
                true=classes[answer.true],
                predicted=classes[answer.predicted],
                probability=answer.probability,
                probability_of_true=answer.of_true,
                image=f"/datasets/{evaluation.dataset_id}/items/{answer.item}/image",
            )
            for answer in answers
        ],
        has_more=has_more,
        next_cursor=encode_cursor(str(start + len(answers))) if has_more else None,
    )


def ensure_analysis(context: AppContext, evaluation: Evaluation) -> Path:
    """The folder of an evaluation's analysis, made if it is not there.

    Raises BusyError, AnalysisError, StorageDamagedError.
    """
    target = analysis_folder(context, evaluation) / f"v{FORMAT_VERSION}"
    if not target.exists():
        with taking_turn():
            if not target.exists():  # another request may have made it meanwhile
                _make_analysis(context, evaluation, target)
    return target


def analysis_folder(context: AppContext, evaluation: Evaluation) -> Path:
    """Where what was made of an evaluation is kept on this host; it may be deleted at any time."""
    folder = context.storage.absolute(evaluation.folder)
    return folder.with_name(f"{folder.name}.made")


def classes_of(evaluation: Evaluation) -> list[str]:
    """The classes of an evaluation: the model's, then those that it does not know."""
    return [score["name"] for score in evaluation.report["classes"]]


def _make_analysis(context: AppContext, evaluation: Evaluation, target: Path) -> None:
    storage = context.storage
    source = storage.remote.download(storage.absolute(evaluation.folder))
    if not source.is_dir():
        raise StorageDamagedError(
            f"The files of evaluation {evaluation.id} are gone.",
            hint=f"Evaluate the model again: `loupe evaluate {evaluation.job_id}`.",
        )
    before = evaluation.report.get("calibration_before")
    spec = AnalysisSpec(
        evaluation=source,
        classes=tuple(classes_of(evaluation)),
        calibration_before=None if before is None else TypeAdapter(Calibration).validate_python(before),
        memory_bytes=MEMORY_BYTES,
    )
    with storage.scratch_folder("analysis") as scratch:
        work, made = scratch / "work", scratch / "made"
        for folder in (work, made):
            folder.mkdir()
        run_limited(context, "app.evaluation.analysis", spec, AnalysisResult, work)
        for name in FILES:
            (work / name).rename(made / name)
        try:
            storage.publish(made, target)
        except OSError:
            # Another process of this host made it meanwhile.
            if not target.exists():
                raise


def _index_of(classes: list[str], field: str, name: str) -> int:
    if name in classes:
        return classes.index(name)
    raise InvalidRequestError(
        f"The evaluation has no class {name!r}.",
        hint=f"Its classes: {', '.join(classes[:20])}{' …' if len(classes) > 20 else ''}.",
        errors=(FieldError(field, "no class of the evaluation"),),
    )
