"""What an examination found: labels that look wrong, and images that look like no other of their class."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from app.errors import InvalidRequestError
from app.features.files import FINDINGS
from app.host.files import write_json
from app.schemas.message import Message, parse_message


class SuspectLabel(Message):
    """An image, its label, and the class that it looks like; with the probability of each."""

    item: str
    name: str
    label: str
    label_probability: float
    suggested: str
    suggested_probability: float


class OutlierImage(Message):
    """An image, and how alike the nearest of its class is: the cosine of their feature vectors."""

    item: str
    name: str
    label: str
    similarity: float


class Findings(Message):
    """The content of ``examination.json``; lists are worst first.

    ``judged``: images whose class is known well enough to suspect a label.
    """

    format_version: Literal[1] = 1
    judged: int
    suspects: tuple[SuspectLabel, ...]
    outliers: tuple[OutlierImage, ...]


def write_findings(folder: Path, findings: Findings) -> None:
    """Leaves them in the folder of a dataset."""
    write_json(folder / FINDINGS, findings.model_dump(mode="json"))


def read_findings(folder: Path) -> Findings | None:
    """What was found in the dataset of ``folder``; None if nothing looked, or not for this yet."""
    try:
        return parse_message(Findings, (folder / FINDINGS).read_bytes(), FINDINGS)
    except (FileNotFoundError, InvalidRequestError):
        return None
