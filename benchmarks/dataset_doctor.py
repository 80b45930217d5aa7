"""Which seeded faults an examination names first: ``python -m benchmarks.dataset_doctor [FOLDER …]``.

FOLDER holds a folder of images for each class; without one, scikit-learn's handwritten digits are taken. Each
fault is put into a copy of the images (``benchmarks/dataset_faults.py``), which is imported and examined. As
they came, no error and no warning should be there.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from app.datasets.examination.examiner import Examiner
from app.datasets.examination.report import ExaminationReport, read_examination
from app.datasets.examination.vectors import Vectors, known_vectors
from app.datasets.importer import import_dataset
from app.datasets.manifest import load_manifest
from app.datasets.sources import Limits
from app.datasets.spec import ExaminationTools
from app.features.extractor import Extractor
from benchmarks.dataset_faults import FAULTS, Shot
from benchmarks.features import write_digits

MOST = 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dataset_doctor", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    parser.add_argument("--most", type=int, default=MOST, help="Images of each set, drawn at random.")
    given = parser.parse_args()
    console = Console(width=150)
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for folder in given.folders or [write_digits(root / "digits")]:
            console.print(_measure(folder, root / f"of-{folder.name}", root, given.most))


def _measure(folder: Path, home: Path, root: Path, most: int) -> Table:
    table = Table("fault", "expected", "named first", "others", title=folder.name)
    clean = read_shots(folder, most)
    report = examine_shots(clean, home / "clean", root)
    known = home / "clean" / "dataset"
    alarms = [each.code for each in report.diagnoses if each.level != "note"]
    table.add_row("as it came", "no alarm", ", ".join(alarms) or "no alarm", _notes(report))
    right = 0
    for fault in FAULTS:
        shots = fault.seed(list(clean), np.random.default_rng(0))
        report = examine_shots(shots, home / fault.name, root, known)
        codes = [each.code for each in report.diagnoses]
        right += codes[:1] == [fault.code]
        table.add_row(fault.name, fault.code, *(codes[:1] or ["-"]), ", ".join(codes[1:]))
    table.caption = f"{right} of {len(FAULTS)} faults are named first"
    return table


def read_shots(folder: Path, most: int) -> list[Shot]:
    """At most so many images of a folder of class folders, drawn at random."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    chosen = sorted(np.random.default_rng(0).permutation(len(files))[:most])
    shots = []
    for number in chosen:
        try:
            with Image.open(files[number]) as image:
                shots.append(Shot(files[number].parent.name, image.convert("RGB")))
        except OSError:
            continue  # a damaged file, which the import leaves out
    return shots


def _notes(report: ExaminationReport) -> str:
    return ", ".join(each.code for each in report.diagnoses if each.level == "note")


def examine_shots(
    shots: Sequence[Shot], home: Path, root: Path, known: Path | None = None
) -> ExaminationReport:
    """Imports them into ``home / "dataset"``. ``known``: a dataset whose feature vectors are used again.
    ``root`` keeps the extractor.
    """
    for number, shot in enumerate(shots):
        path = home / "source" / (shot.split or "") / shot.label / f"{number:05d}.{shot.extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        shot.image.save(buffer, {"jpg": "JPEG"}.get(shot.extension, shot.extension.upper()))
        path.write_bytes(buffer.getvalue())
    tools = ExaminationTools(
        extractor=root / "extractor", weights_root=root / "weights", partial=home / "partial"
    )
    folders = [] if known is None else [known]

    def find_known(extractor: Extractor) -> Mapping[str, Vectors]:
        return known_vectors(folders, [load_manifest(each) for each in folders], extractor)

    examiner = Examiner(tools, home / "images", home / "making", lambda *_: None, lambda: None, find_known)
    import_dataset(
        home / "source",
        home / "images",
        home / "dataset",
        home / "scratch",
        Limits(),
        lambda *_: None,
        examine=examiner.examine,
    )
    report = read_examination(home / "dataset", load_manifest(home / "dataset"))
    assert report is not None
    return report


if __name__ == "__main__":
    main()
