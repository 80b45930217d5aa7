"""What an import reads, so that a client can say it before it sends anything."""

from __future__ import annotations

from pydantic import BaseModel, Field


class FileFormat(BaseModel):
    name: str = Field(description="As people call it, such as JPEG or tar.gz.")
    extensions: list[str] = Field(description="Ends of file names, in lower case, with the dot.")


class ArchiveFormat(FileFormat):
    media_type: str = Field(description="The Content-Type to send it with.")


class Formats(BaseModel):
    images: list[FileFormat]
    archives: list[ArchiveFormat]
    tables: list[str] = Field(description="Ends of the names of tables that may say the classes of images.")
    max_upload_bytes: int = Field(description="Bytes of the largest archive that is taken.")
    max_file_bytes: int = Field(description="Bytes of the largest file in it; larger ones are left out.")
    max_files: int = Field(description="Most files and folders in one archive.")
