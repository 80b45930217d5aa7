"""An artifact on its way to another Loupe: one zip of its files and of what the model answers.

The zip of one artifact has the same bytes each time. Who receives one believes nothing in it: see
``app/training/transfer/unpack.py``.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Literal

from app.artifacts.folder import KERAS_MODEL, LITERT_MODEL, REFERENCES, Artifact
from app.artifacts.manifest import MANIFEST
from app.schemas.message import Message, dump_message

TRANSFER = "transfer.json"
ARCHIVE_FILES = (MANIFEST, TRANSFER, LITERT_MODEL, KERAS_MODEL)
"""What such a zip holds, in this order; then ``REFERENCES``, if the model has them."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_ORDINARY = 0o100644 << 16


class Transfer(Message):
    """What the zip says beside the artifact: where it comes from, and how the model is served there.

    ``probes``: the name of the images that it was asked about, see ``probes.py``. ``answers``: the served
    probabilities, a row an image, in the labels' order; a float32 survives the way through JSON.
    """

    format_version: Literal[1] = 1
    model: str
    product: str
    version: int
    artifact_digest: str
    probes: str
    answers: tuple[tuple[float, ...], ...]


def write_archive(path: Path, artifact: Artifact, transfer: Transfer) -> None:
    """Writes the zip. Nothing is compressed: weights hardly shrink. Raises OSError."""
    with zipfile.ZipFile(path, "w") as archive:
        kept = (REFERENCES,) if REFERENCES in artifact.manifest.files else ()
        for name in (*ARCHIVE_FILES, *kept):
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.external_attr = _ORDINARY
            if name == TRANSFER:
                archive.writestr(info, dump_message(transfer))
                continue
            source = artifact.folder / name
            info.file_size = source.stat().st_size  # decides whether the header has room for it
            with source.open("rb") as file, archive.open(info, "w") as entry:
                shutil.copyfileobj(file, entry, 2**20)
