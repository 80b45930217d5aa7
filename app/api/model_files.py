"""``/models/{model}/artifact``, ``/models/{model}/exports`` and ``/products/{product}/models``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, status
from fastapi.responses import JSONResponse

from app.api.answers import accepted
from app.api.dependencies import ContextDep, IdempotentDep
from app.api.file_answers import ContentAnswer
from app.api.routes import FORM, CheckedRoute
from app.api.uploads import receive_model
from app.schemas.archive_kinds import ARCHIVE_KINDS
from app.schemas.job import Job
from app.schemas.model import ModelExportCreate
from app.schemas.model_formats import FormatName
from app.services import model_exports, model_files

ARCHIVE = {"type": "string", "format": "binary", "description": "The zip of a model's artifact."}
[ZIP_TYPES] = [kind.media_types for kind in ARCHIVE_KINDS if kind.name == "zip"]

router = APIRouter(tags=["models"], route_class=CheckedRoute)


@router.get("/models/{model}/artifact", response_class=ContentAnswer)
def get_artifact(
    model: str,
    context: ContextDep,
    wanted: Annotated[
        FormatName,
        Query(
            alias="format",
            description="zip: the whole artifact, which another Loupe can import. saved_model and onnx: 409 "
            "until a worker has made it, see `POST /models/{model}/exports`.",
        ),
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


@router.post("/models/{model}/exports", status_code=status.HTTP_202_ACCEPTED, response_model=Job)
def create_model_export(
    model: str, request: ModelExportCreate, context: ContextDep, idempotent: IdempotentDep
) -> JSONResponse:
    """Have a worker make another form of the model, once; the answer is the job that makes or made it.

    The file is compared with the served model and kept with it: `GET /models/{model}/artifact?format=…`.
    """
    return accepted(model_exports.create_model_export(context, model, request, idempotent))


@router.post(
    "/products/{product}/models",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=Job,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                FORM: {"schema": {"type": "object", "required": ["file"], "properties": {"file": ARCHIVE}}},
                **{media_type: {"schema": ARCHIVE} for media_type in ZIP_TYPES},
            },
        }
    },
)
async def import_model(product: str, request: Request, context: ContextDep) -> JSONResponse:
    """Import a model of another Loupe: the zip of its artifact.

    Nothing in the zip is run: a worker builds the network from its name and the weights from their numbers,
    and compares the answers. The model gets a version of the product; an alias is moved by hand.
    """
    return accepted(await receive_model(context, product, request))
