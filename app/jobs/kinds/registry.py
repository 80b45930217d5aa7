"""Every kind of job, by name. A new kind is a file beside this one and a line here."""

from __future__ import annotations

from app.jobs.kinds.base import AnyKind
from app.jobs.kinds.batch_prediction import BatchPrediction
from app.jobs.kinds.dataset_export import DatasetExport
from app.jobs.kinds.dataset_import import DatasetImport
from app.jobs.kinds.dataset_revision import DatasetRevision
from app.jobs.kinds.evaluation import EvaluationKind
from app.jobs.kinds.examination import ExaminationKind
from app.jobs.kinds.model_export import ModelExportKind
from app.jobs.kinds.model_import import ModelImport
from app.jobs.kinds.training import Training

KINDS: dict[str, AnyKind] = {
    kind.name: kind
    for kind in (
        *(Training(), DatasetImport(), EvaluationKind(), DatasetExport()),
        *(ModelExportKind(), ModelImport(), BatchPrediction(), DatasetRevision(), ExaminationKind()),
    )
}
