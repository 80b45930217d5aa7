"""The examination as a stage of a child's work, which goes on where nothing can be examined."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.datasets.examination import Progress, Vectors, examine
from app.datasets.findings import write_findings
from app.datasets.label_findings import find_in
from app.datasets.manifest import DatasetManifest
from app.datasets.spec import Examination, ExaminationTools
from app.errors import FeaturesUnavailableError
from app.features.extractor import Extractor
from app.features.making import require_extractor

logger = logging.getLogger(__name__)

Known = Callable[[Extractor], Mapping[str, Vectors]]


@dataclass(frozen=True)
class Examined:
    """``missing``: why there is no examination."""

    examination: Examination | None
    missing: FeaturesUnavailableError | None = None

    def describe(self) -> dict[str, Any]:
        """Its part of the report."""
        if self.examination is not None:
            return {"examination": self.examination.model_dump(mode="json")}
        assert self.missing is not None
        reason = " ".join(filter(None, (self.missing.detail, self.missing.hint)))
        return {"examination": None, "not_examined": reason}


@dataclass(frozen=True)
class Examiner:
    """``scratch``: a folder for our own use. ``alive``: called during long work; it may raise to leave.

    ``known``: gives the vectors that other datasets have already.
    """

    tools: ExaminationTools
    image_root: Path
    scratch: Path
    progress: Progress
    alive: Callable[[], None]
    known: Known = field(default=lambda _: {})

    def require(self, manifest: DatasetManifest, out: Path) -> Examination:
        """Examines a dataset into the folder ``out``. Raises FeaturesUnavailableError, DatasetError."""
        tools = self.tools
        extractor = require_extractor(tools.extractor, tools.weights_root, self.scratch, self.alive)
        vectors = examine(
            manifest,
            self.image_root,
            out,
            extractor,
            self.progress,
            partial=tools.partial,
            known=self.known(extractor),
        )
        findings, note = find_in(manifest, vectors, self.alive), extractor.note
        write_findings(out, findings)
        return Examination(
            network=note.network,
            extractor=note.sha256,
            dimensions=note.dimensions,
            judged=findings.judged,
            suspects=len(findings.suspects),
            outliers=len(findings.outliers),
        )

    def attempt(self, manifest: DatasetManifest, out: Path) -> Examined:
        """The same for work that does not depend on it."""
        try:
            return Examined(self.require(manifest, out))
        except FeaturesUnavailableError as error:
            logger.warning("not examined: %s", error.detail)
            return Examined(None, error)
