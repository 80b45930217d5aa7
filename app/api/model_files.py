"""``/models/{model}/artifact``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.dependencies import ContextDep
from app.api.file_answers import ContentAnswer
from app.api.routes import CheckedRoute
from app.schemas.model_formats import FormatName
from app.services import model_files

router = APIRouter(tags=["models"], route_class=CheckedRoute)


@router.get("/models/{model}/artifact", response_class=ContentAnswer)
def get_artifact(
    model: str,
    context: ContextDep,
    wanted: Annotated[
        FormatName,
        Query(alias="format", description="zip: the whole artifact, which another Loupe can import."),
    ] = "zip",
) -> ContentAnswer:
    """One model as a file. Its `ETag` is the SHA-256 of the file."""
    found = model_files.get_model_file(context, model, wanted)
    return ContentAnswer(
        found.path,
        media_type=found.media_type,
        filename=found.name,
        headers={"ETag": f'"{found.sha256}"'},
    )
