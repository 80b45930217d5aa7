"""Published weights in the shared storage: brought once by somebody, found by every host."""

from __future__ import annotations

from pathlib import Path

from app.networks.pretrained.published import digest_note
from app.networks.pretrained.sources import get_published
from app.storage.home import Storage


def upload_weights(storage: Storage, path: Path) -> None:
    """Lets the other hosts find a file of published weights, with the note of its digest."""
    note = digest_note(path)
    if note.is_file():
        storage.remote.upload(note)
    storage.remote.upload(path)


def download_weights(storage: Storage, network: str) -> None:
    """Brings the network's published weights here if they are in the shared storage and not here."""
    weights = get_published(network)
    if weights is not None and weights.locate(storage.weights) is None:
        path = storage.weights / weights.file_name
        storage.remote.download(digest_note(path))
        storage.remote.download(path)
