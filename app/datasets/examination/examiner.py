"""The examination as a stage of a child's work: what is found without the extractor is found without it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.datasets.examination.checks.evidence import Evidence
from app.datasets.examination.doctor import diagnose
from app.datasets.examination.honesty import judge_honestly
from app.datasets.examination.indexed import index_dataset
from app.datasets.examination.labels import audit_dataset
from app.datasets.examination.looks import look_at
from app.datasets.examination.near_search import NearSearch, search_dataset
from app.datasets.examination.report import ExaminationReport, read_examination, write_examination
from app.datasets.examination.split_difference import measure_difference
from app.datasets.examination.vectors import compute_vectors, images_of, load_features
from app.datasets.manifest import DatasetManifest
from app.datasets.near_groups import read_near_groups, with_near_groups, write_near_groups
from app.datasets.spec import Examination, ExaminationTools
from app.errors import FeaturesUnavailableError
from app.features.extractor import Extractor
from app.features.making import require_extractor
from app.features.vectors import FeatureHeader, digest_images, read_header

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float16]
Known = Callable[[Extractor], Mapping[str, Vectors]]
Progress = Callable[[int, int], None]
_OF_VECTORS, _OF_SEARCH = 0.6, 0.35
"""Of the whole examination."""


@dataclass(frozen=True)
class Examined:
    """``manifest``: the dataset's, with the near-duplicate groups. ``missing``: why there are no vectors."""

    manifest: DatasetManifest
    examination: Examination
    missing: str | None


@dataclass(frozen=True)
class Examiner:
    """``scratch``: a folder for our own use. ``known``: gives the vectors that other datasets have already.

    ``progress`` is called with images done and their number, ``alive`` during long work; both may raise to
    leave. ``before``: the folder of the dataset, if it may have been examined already.
    """

    tools: ExaminationTools
    image_root: Path
    scratch: Path
    progress: Progress
    alive: Callable[[], None]
    known: Known = field(default=lambda _: {})
    before: Path | None = None

    def examine(self, manifest: DatasetManifest, out: Path) -> Examined:
        """Examines a dataset into the folder ``out``. Raises DatasetError."""
        vectors, missing = None, None
        try:
            vectors = self._find_vectors(manifest, out)
        except FeaturesUnavailableError as error:
            missing = " ".join(filter(None, (error.detail, error.hint)))
            logger.warning("no feature vectors: %s", error.detail)
        header = None if vectors is None else read_header(out) or self._read_header_before()
        if (earlier := self._find_earlier(manifest, vectors)) is not None:
            report, joined = earlier
            return Examined(joined, _summarise(report, joined, header), missing)
        began = 0.0 if vectors is None else _OF_VECTORS
        near = search_dataset(
            manifest,
            self.image_root,
            vectors,
            self.tools.partial.with_name(f"{self.tools.partial.name}.sketches"),
            digest_images(images_of(manifest)),
            lambda fraction: self._tell(manifest, began + fraction * _OF_SEARCH),
        )
        write_near_groups(out, manifest, near.groups)
        joined = with_near_groups(manifest, near.groups)
        report = self._judge(joined, vectors, near).model_copy(update={"missing": missing})
        write_examination(out, manifest, report)
        self._tell(manifest, 1.0)
        return Examined(joined, _summarise(report, joined, header), missing)

    def _judge(
        self, manifest: DatasetManifest, vectors: Vectors | None, near: NearSearch
    ) -> ExaminationReport:
        """``manifest``: with the near-duplicate groups."""
        report, judged, difference = ExaminationReport(near_duplicates=near.report), None, None
        if vectors is not None:
            known = index_dataset(manifest)
            labels = audit_dataset(manifest, known, vectors, near.thumbnails, self.alive)
            judged = judge_honestly(manifest, known, vectors, labels.audit, self.alive)
            difference = measure_difference(manifest, known, vectors, self.alive)
            honesty = None if judged is None else judged.honesty
            report = report.model_copy(
                update={
                    "judged": labels.judged,
                    "suspects": labels.suspects,
                    "outliers": labels.outliers,
                    "honesty": honesty,
                }
            )
        looks = look_at(manifest.items, near.colours, near.thumbnails)
        diagnoses = diagnose(Evidence(manifest, report, looks, judged, difference))
        return report.model_copy(update={"diagnoses": diagnoses})

    def _find_earlier(
        self, manifest: DatasetManifest, vectors: Vectors | None
    ) -> tuple[ExaminationReport, DatasetManifest] | None:
        """What an earlier examination found that knew all that this one knows."""
        if self.before is None or (groups := read_near_groups(self.before, manifest)) is None:
            return None
        report = read_examination(self.before, manifest)
        if report is None or (report.missing is not None and vectors is not None):
            return None
        return report, with_near_groups(manifest, groups)

    def _find_vectors(self, manifest: DatasetManifest, out: Path) -> Vectors:
        """Those that are computed into ``out``; without an extractor, those that the dataset has already."""
        try:
            return self._compute_vectors(manifest, out)
        except FeaturesUnavailableError:
            if self.before is None:
                raise
            with suppress(FeaturesUnavailableError):
                return load_features(self.before, manifest)
            raise

    def _read_header_before(self) -> FeatureHeader | None:
        return None if self.before is None else read_header(self.before)

    def _compute_vectors(self, manifest: DatasetManifest, out: Path) -> Vectors:
        tools = self.tools
        extractor = require_extractor(tools.extractor, tools.weights_root, self.scratch, self.alive)
        return compute_vectors(
            manifest,
            self.image_root,
            out,
            extractor,
            lambda done, of: self._tell(manifest, done / of * _OF_VECTORS),
            partial=tools.partial,
            known=self.known(extractor),
        )

    def _tell(self, manifest: DatasetManifest, fraction: float) -> None:
        number = len(manifest.items)
        self.progress(round(fraction * number), number)


def _summarise(
    report: ExaminationReport, manifest: DatasetManifest, header: FeatureHeader | None
) -> Examination:
    near = [item.near_group for item in manifest.items if item.near_group is not None]
    return Examination(
        network=None if header is None else header.network,
        extractor=None if header is None else header.extractor,
        dimensions=None if header is None else header.dimensions,
        near_groups=len(set(near)),
        near_images=len(near),
        judged=report.judged,
        suspects=len(report.suspects),
        outliers=len(report.outliers),
    )
