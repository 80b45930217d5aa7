"""Which faults of a training its findings name first: ``python -m benchmarks.training_doctor [FOLDER …]``.

FOLDER holds a folder of images for each class; without one, scikit-learn's handwritten digits are taken. Each
fault (``benchmarks/training_faults.py``) is put into a training of ``tiny_cnn``, by the code of a training up
to the test, without packaging; what it changes in the images is imported and examined. Trainings without a
fault, one for each seed, should give no error and no warning.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from app.child import Reporter, StopSignal
from app.datasets.examination.report import ExaminationReport
from app.datasets.near_groups import load_dataset
from app.datasets.split import split_dataset
from app.errors import NotFiniteError
from app.evaluation.metrics import evaluate_predictions
from app.schemas.common import Estimate
from app.schemas.finding import Finding
from app.schemas.hyperparameters import SplitSettings
from app.services.training_doctor.doctor import examine_training
from app.services.training_doctor.record import Epoch, FinalTest, TrainingRecord
from app.training.handwritten import resolve_spec
from app.training.libraries import loading_tensorflow
from app.training.spec import parse_spec
from benchmarks.dataset_doctor import examine_shots, read_shots
from benchmarks.dataset_faults import Shot
from benchmarks.features import write_digits
from benchmarks.training_faults import FAULTS, RATE, Fault

MOST, SEEDS, SIDE, EPOCHS = 600, 3, 32, 15
NETWORK = "tiny_cnn"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_doctor", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    parser.add_argument("--most", type=int, default=MOST, help="Images of each set, drawn at random.")
    parser.add_argument(
        "--only", default="", help="Only faults with this in their name, a regular expression."
    )
    parser.add_argument("--curves", action="store_true", help="Print each training's epochs too.")
    given = parser.parse_args()
    console = Console(width=130)
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for folder in given.folders or [write_digits(root / "digits")]:
            bench = Bench(root, read_shots(folder, given.most), root / f"of-{folder.name}", given.curves)
            console.print(_measure(folder.name, bench, given.only))


def _measure(name: str, bench: Bench, only: str) -> Table:
    table = Table("fault", "expected", "named first", "others", title=f"{name}, {len(bench.shots)} images")
    for seed in range(SEEDS):
        found = bench.run(Fault("clean", "", {"seed": seed}))
        alarms = [each.code for each in found if each.level != "note"]
        table.add_row(f"none, seed {seed}", "no alarm", ", ".join(alarms) or "no alarm", "")
    chosen = [fault for fault in FAULTS if re.search(only, fault.name)]
    right = 0
    for fault in chosen:
        codes = [each.code for each in bench.run(fault)]
        right += codes[:1] == [fault.code]
        table.add_row(fault.name, fault.code, *(codes[:1] or ["-"]), ", ".join(codes[1:]))
    table.caption = f"{right} of {len(chosen)} faults are named first"
    return table


@dataclass
class Bench:
    """Trainings on copies of the same images. ``root`` keeps the extractor."""

    root: Path
    shots: Sequence[Shot]
    home: Path
    shows_curves: bool
    reports: dict[Path, ExaminationReport] = field(default_factory=dict)

    def run(self, fault: Fault) -> list[Finding]:
        clean = self.home / "clean"
        home = clean if fault.seed is None else self.home / fault.name.replace(" ", "-").replace("/", "-")
        if not (home / "dataset").exists():
            known = (clean / "dataset") if clean.exists() else None
            shots = list(self.shots)
            if fault.seed is not None:
                shots = fault.seed(shots, np.random.default_rng(0))
            self.reports[home] = examine_shots(shots, home, self.root, known)
        record = train(fault, home, self.reports[home])
        found = examine_training(record)
        if self.shows_curves:
            _show(fault, record, found)
        return found


def train(fault: Fault, home: Path, report: ExaminationReport) -> TrainingRecord:
    """What is recorded of a training with the fault, on the dataset in ``home``."""
    with loading_tensorflow():
        from app.training.export import build_inference_model, predict_subsets
        from app.training.pipeline import prepare
        from app.training.pipeline import train as fit_network
        from app.training.work import open_work

    manifest = load_dataset(home / "dataset")
    shares: Mapping[str, Any] = {} if fault.split is None else fault.split(len(manifest.items))
    seed = int(fault.settings.get("seed", 0))
    assigned = split_dataset(manifest, SplitSettings(**shares), seed)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "split.json").write_text(json.dumps(assigned))
        settings = dict(fault.settings)
        if settings.get("class_weights") == "first":
            settings["class_weights"] = {manifest.classes[0]: 1000}
        usual = {"image_size": SIDE, "epochs": EPOCHS, "horizontal_flip": False, "pretrained": "none"}
        spec = parse_spec(
            resolve_spec(
                {
                    "job_id": "job_1",
                    "product": "product",
                    "network": NETWORK,
                    "hyperparameters": {**usual, **settings},
                    "dataset": str(home / "dataset"),
                    "image_root": str(home / "images"),
                    "split": str(folder / "split.json"),
                    "records_root": str(home / "records"),
                    "checkpoint_root": str(folder / "checkpoints"),
                    "logs": str(folder / "logs"),
                    "out": str(folder / "artifact"),
                    "until_epoch": fault.until_epoch,
                }
            )
        )
        reporter = Reporter(folder / "progress.jsonl")
        work = open_work(spec, folder, reporter, StopSignal())
        run = prepare(work)
        epochs: tuple[Epoch, ...] = ()
        error, tested, stop_reason = None, None, None
        try:
            fit = fit_network(run)
        except NotFiniteError as raised:
            error = (raised.code, raised.detail)
        else:
            epochs = tuple(_as_epoch(line) for line in fit.position.epochs)
            stop_reason = fit.position.stop_reason or "budget_reached"
            assert fit.best_weights is not None
            model = build_inference_model(NETWORK, spec.image_size, len(manifest.classes), fit.best_weights)
            [probabilities] = predict_subsets(model, [run.tested], reporter.alive)
            tested = _as_tested(run.tested.labels, probabilities, manifest.classes)
        reporter.close()
    return TrainingRecord(
        product="product",
        network=NETWORK,
        dataset="dst_1",
        settings=spec.hyperparameters.model_dump(mode="json"),
        asked=settings,
        usual_rate=RATE,
        images=manifest.class_counts,
        counts=Counter(assigned.values()),
        epochs=epochs,
        stop_reason=stop_reason,
        error=error,
        tested=tested,
        diagnoses=report.diagnoses,
    )


def _as_epoch(line: Mapping[str, Any]) -> Epoch:
    valid = line["valid"] or {}
    return Epoch(
        line["epoch"],
        line["train"]["loss"],
        line["train"]["accuracy"],
        valid.get("loss"),
        valid.get("accuracy"),
    )


def _as_tested(labels: Any, probabilities: Any, classes: Sequence[str]) -> FinalTest:
    measured = evaluate_predictions(labels, probabilities, classes)
    accuracy, matrix = measured.metrics.accuracy, measured.confusion_matrix
    return FinalTest(
        items=measured.items,
        accuracy=Estimate(value=accuracy.value, low=accuracy.low or 0.0, high=accuracy.high or 1.0),
        labels=matrix.labels,
        counts=matrix.counts,
    )


def _show(fault: Fault, record: TrainingRecord, found: Sequence[Finding]) -> None:
    print(f"\n{fault.name}: chance {record.majority:.3f}, log(classes) {record.weighted_ignorance:.3f}")
    for epoch in record.epochs:
        print(
            f"  {epoch.number:3d}  train {epoch.train_loss:9.4f} {epoch.train_accuracy:.3f}"
            f"  valid {epoch.valid_loss or 0:9.4f} {epoch.valid_accuracy or 0:.3f}"
        )
    if record.tested is not None:
        print(f"  test {record.tested.accuracy.value:.3f} of {record.tested.items}")
    for each in found:
        print(f"  {each.level} {each.code}: {each.finding}. {each.evidence} {each.advice} {each.command}")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
