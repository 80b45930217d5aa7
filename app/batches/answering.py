"""The work of the child: each image of a source is asked about, in order, on as many threads as are given."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from app.artifacts import open_artifact
from app.batches.files import FINISHED, RESULTS, SKIPPED, TABLE
from app.batches.results import DamagedStateError, Results, find_saved
from app.batches.sources import Entry, ImageSource, open_source, require_images
from app.batches.spec import BatchResult, BatchSpec, SkippedFile, WrittenFile
from app.batches.table import write_table
from app.child import Released, Reporter, StopSignal
from app.datasets.concurrency import ordered_map
from app.errors import ImageDecodeError, ImageTooLargeError, LoupeError
from app.host import failpoints
from app.host.files import describe
from app.images.formats import is_meant_as_image
from app.inference.labelled import judge_answer, rank_labels
from app.inference.predictor import Predictor
from app.schemas.batch_prediction import BatchLine, LineImage
from app.schemas.common import problem_from_error
from app.schemas.progress_lines import CheckpointLine, ProgressLine, ResumedLine, WarningLine

SKIPPED_SHOWN = 100
_SECONDS_BETWEEN_LINES = 0.5
_SPEED_SECONDS = 10.0
"""The speed is that of the last so many seconds."""
_NAP_SECONDS = 0.1


def predict_all(spec: BatchSpec, folder: Path, reporter: Reporter, stop: StopSignal) -> BatchResult:
    """Leaves the finished files in ``folder``. Raises ArtifactError, DatasetError, and Released when asked to
    leave, its state saved.
    """
    reporter.stage("preparing")
    artifact = open_artifact(spec.artifact, digest=spec.artifact_digest)
    predictor = Predictor(artifact, interpreters=spec.threads)
    source = open_source(spec.source, reporter.alive)
    out = folder / FINISHED
    out.mkdir()
    identity = json.dumps([spec.model, spec.artifact_digest, spec.top_k, spec.max_error])
    with Results(out, spec.checkpoint_root, identity, spec.checkpoint_seconds) as results:
        _go_on(results, spec, reporter)
        reporter.stage("predicting")
        _answer_all(spec, predictor, source, results, reporter, stop)
        results.skip(source.skipped())
        files = results.finish()
    skipped_files = _first_skipped(out / SKIPPED)
    require_images(results.images, skipped_files)
    write_table(out / RESULTS, out / TABLE, min(spec.top_k, len(predictor.labels)), reporter.alive)
    table = describe(out / TABLE)
    return BatchResult(
        images=results.images,
        errors=results.errors,
        rejected=results.rejected,
        skipped=results.skipped,
        skipped_files=tuple(skipped_files),
        files={**files, TABLE: WrittenFile(bytes=table.bytes, sha256=table.sha256)},
    )


def answer(
    predictor: Predictor, entry: Entry, *, top_k: int, max_error: float, model: str
) -> BatchLine | SkippedFile:
    """One image's line. What is no image, by its name or its content, is skipped as in an import.

    Raises the errors that are no image's fault.
    """
    data: bytes | None = None
    try:
        data = entry.read()
        image, outcome = predictor.answer_bytes(data)
    except LoupeError as error:
        if error.status >= 500:
            raise
        is_undecodable = isinstance(error, ImageDecodeError) and not isinstance(error, ImageTooLargeError)
        if is_undecodable and not is_meant_as_image(entry.name, data or b""):
            return SkippedFile(name=entry.name, reason=error.detail)
        problem = problem_from_error(error.as_dict(), entry.name)
        return BatchLine(name=entry.name, sha256=_digest(data), error=problem, model=model)
    ranked = rank_labels(predictor, outcome, top_k)
    return BatchLine(
        name=entry.name,
        sha256=_digest(data),
        label=ranked[0].label,
        probability=ranked[0].probability,
        predictions=ranked,
        image=LineImage(width=image.width, height=image.height, format=image.format),
        warnings=list(image.notes),
        model=model,
        **dict(judge_answer(predictor, outcome, max_error)),
    )


def _answer_all(
    spec: BatchSpec,
    predictor: Predictor,
    source: ImageSource,
    results: Results,
    reporter: Reporter,
    stop: StopSignal,
) -> None:
    pace = _Pace(results.entries, source.total, spec.images_per_minute)

    def ask(entry: Entry) -> BatchLine | SkippedFile:
        return answer(predictor, entry, top_k=spec.top_k, max_error=spec.max_error, model=spec.model)

    with ThreadPoolExecutor(spec.threads) as pool:
        # Few ahead: an archive's entries are in memory while they wait.
        outcomes = ordered_map(pool, ask, source.entries(results.entries), ahead=spec.threads + 2)
        for outcome in outcomes:
            failpoints.pass_by("predict.image")
            results.add(outcome)
            pace.report(results.entries, reporter)
            if stop.release:
                _save(results, reporter)
                raise Released
            if results.is_due():
                _save(results, reporter)
            pace.keep(results.entries, reporter, stop)


class _Pace:
    """How fast the work goes, and that it goes no faster than it may."""

    def __init__(self, start: int, total: int, images_per_minute: int | None) -> None:
        self._start, self._total = start, total
        self._began = time.monotonic()
        self._seconds_each = 60 / images_per_minute if images_per_minute else 0.0
        self._seen = deque([(self._began, start)])
        self._next = self._began

    def report(self, done: int, reporter: Reporter) -> None:
        now = time.monotonic()
        if now < self._next and done < self._total:
            return
        self._next = now + _SECONDS_BETWEEN_LINES
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _SPEED_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        speed = (done - before) / max(now - since, 1e-6)
        reporter.emit(
            ProgressLine(
                done=done,
                total=self._total,
                fraction=round(done / self._total, 4),
                images_per_second=round(speed, 2),
                eta_seconds=round((self._total - done) / speed, 1) if speed else None,
            )
        )

    def keep(self, done: int, reporter: Reporter, stop: StopSignal) -> None:
        """Waits until the next image may be answered."""
        due = self._began + (done - self._start) * self._seconds_each
        while not stop.release and (left := due - time.monotonic()) > 0:
            time.sleep(min(left, _NAP_SECONDS))
            reporter.alive()


def _go_on(results: Results, spec: BatchSpec, reporter: Reporter) -> None:
    """From the newest saved state that is whole; else from the first image."""
    for folder in find_saved(spec.resume_from):
        try:
            results.go_on_from(folder)
        except DamagedStateError as error:
            reporter.emit(WarningLine(message=f"The checkpoint {folder.name} is not used: {error}."))
        else:
            known = {"from": str(folder)}
            reporter.emit(ResumedLine(step=results.entries, epoch=0, exact=True, **known))
            return


def _save(results: Results, reporter: Reporter) -> None:
    folder, digest = results.save()
    reporter.emit(CheckpointLine(step=results.entries, epoch=0, folder=str(folder), digest=digest))


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _first_skipped(path: Path) -> list[SkippedFile]:
    with path.open("rb") as file:
        return [SkippedFile.model_validate_json(line) for line in islice(file, SKIPPED_SHOWN)]
