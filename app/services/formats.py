"""What an import reads, and how much of it."""

from __future__ import annotations

from app.config import Settings
from app.datasets.labels import READ_TABLES
from app.datasets.sources import Limits
from app.images.formats import FORMATS
from app.schemas import formats as schemas
from app.schemas.archive_kinds import ARCHIVE_KINDS


def get_formats(settings: Settings) -> schemas.Formats:
    return schemas.Formats(
        images=[
            schemas.FileFormat(name=kind.label, extensions=[f".{one}" for one in kind.extensions])
            for kind in FORMATS
        ],
        archives=[
            schemas.ArchiveFormat(
                name=kind.name, extensions=list(kind.extensions), media_type=kind.media_types[0]
            )
            for kind in ARCHIVE_KINDS
        ],
        tables=list(READ_TABLES),
        max_upload_bytes=settings.max_upload_bytes,
        max_file_bytes=Limits().max_file_bytes,
        max_files=settings.max_dataset_items,
    )
