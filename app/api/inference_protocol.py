"""The Open Inference Protocol, version 2, over HTTP: ``/v2``. See ``docs/inference-protocol.md``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool

from app import __version__
from app.api.dependencies import OpenContextDep, get_context, get_model_router, get_turns
from app.api.document import inline_schema
from app.api.health import readyz
from app.api.measurements import ANSWERED
from app.api.predicting import SERVER_TIMING, Answered, answer_in_bounds
from app.api.prediction_routes import HEAD_LENGTH
from app.api.routes import (
    JSON,
    LARGE_BYTES,
    CheckedRoute,
    ProbeRoute,
    check_encoding,
    media_type_of,
    unsupported,
)
from app.api.tensor_answers import OCTETS, describe_outputs, write_tensors
from app.api.tensor_requests import Limits, read_tensors
from app.config import Settings
from app.errors import FieldError, InvalidRequestError
from app.inference.predictor import Predictor
from app.schemas.caller import Caller
from app.schemas.inference_protocol import (
    InferRequest,
    InferResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorMetadata,
)
from app.schemas.numbers import MOST
from app.services import predictions
from app.services.model_router import Asked, Question
from app.services.named_models import check_version, question_of


class InferRoute(CheckedRoute):
    """Its clients state no content type, and its JSON may be the beginning of a body alone."""

    async def check_body(self, request: Request, wanted: dict[str, Any]) -> None:
        check_encoding(request)
        media_type = media_type_of(request)
        if media_type and media_type not in wanted["content"]:
            raise unsupported(media_type, list(wanted["content"]))


router = APIRouter(tags=["open inference protocol"], route_class=CheckedRoute)
probes = APIRouter(tags=["open inference protocol"], route_class=ProbeRoute)
infers = APIRouter(tags=["open inference protocol"], route_class=InferRoute)

T = TypeVar("T")

SMALL_BODY, SMALL_ANSWER = 2**20, 10_000
"""Bytes of a body, and values of an answer, that cost less than a thread's turn."""
EXTENSIONS = ["binary_tensor_data", "classification"]
BINARY = {"schema": {"type": "string", "format": "binary", "description": "JSON, then tensors."}}
OF_INFERENCE: dict[str, Any] = {
    "response_model": InferResponse,
    "responses": {200: {"content": {OCTETS: BINARY}, "headers": SERVER_TIMING}},
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": inline_schema(InferRequest)}, OCTETS: BINARY},
        }
    },
}
HeadLength = Annotated[
    int | None,
    Header(
        alias=HEAD_LENGTH,
        ge=0,
        le=MOST,
        description="How many bytes of the body are JSON; the tensor follows. Without it all of them are.",
    ),
]
Timeout = Annotated[
    float | None,
    Header(
        alias="X-Request-Timeout",
        gt=0,
        le=3600,
        description="Seconds after which no answer is wanted any more.",
    ),
]


@probes.get("/v2/health/live")
async def live() -> ServerLive:
    """200 as long as the process answers."""
    return ServerLive(live=True)


@probes.get("/v2/health/ready", responses={503: {"description": "Not ready; `GET /readyz` says why."}})
def ready(context: OpenContextDep, response: Response) -> ServerReady:
    """200 when predictions can be served."""
    return ServerReady(live=True, ready=readyz(context, response)["ready"])


@router.get("/v2")
async def server_metadata() -> ServerMetadata:
    """The server, its release, and the extensions of the protocol that it knows."""
    return ServerMetadata(name="loupe", version=__version__, extensions=EXTENSIONS)


@router.get("/v2/models/{model}")
async def model_metadata(request: Request, model: str) -> ModelMetadata:
    """What the champion of a product takes and gives. `model`: a product, or the id of a model."""
    return _metadata(model, await _find(request, model, None))


@router.get("/v2/models/{model}/ready")
async def model_ready(request: Request, model: str) -> ModelReady:
    """200 when the champion of a product is loaded and answers."""
    await _find(request, model, None)
    return ModelReady(name=model, ready=True)


@router.get("/v2/models/{model}/versions/{version}")
async def version_metadata(request: Request, model: str, version: str) -> ModelMetadata:
    """What a version takes and gives. `version`: its number, or an alias."""
    return _metadata(model, await _find(request, model, version))


@router.get("/v2/models/{model}/versions/{version}/ready")
async def version_ready(request: Request, model: str, version: str) -> ModelReady:
    """200 when a version is loaded and answers."""
    await _find(request, model, version)
    return ModelReady(name=model, ready=True)


@infers.post("/v2/models/{model}/infer", **OF_INFERENCE)
async def infer(
    request: Request,
    model: str,
    head_length: HeadLength = None,
    x_request_timeout: Timeout = None,
) -> Response:
    """Classify images with the champion of a product, or with the model of an id."""
    return await _infer(request, model, None, head_length, x_request_timeout)


@infers.post("/v2/models/{model}/versions/{version}/infer", **OF_INFERENCE)
async def infer_version(
    request: Request,
    model: str,
    version: str,
    head_length: HeadLength = None,
    x_request_timeout: Timeout = None,
) -> Response:
    """Classify images with a version of a product: its number, or an alias."""
    return await _infer(request, model, version, head_length, x_request_timeout)


router.routes += [*probes.routes, *infers.routes]


async def _infer(
    request: Request,
    model: str,
    version: str | None,
    head_length: int | None,
    timeout: float | None,
) -> Response:
    settings: Settings = request.app.state.context.settings
    limits = Limits(images=settings.max_predict_files, head_bytes=settings.max_json_bytes)
    body = await request.body()
    json_bytes = len(body) if head_length is None else head_length
    is_small = json_bytes <= LARGE_BYTES and len(body) <= SMALL_BODY
    tensors = await _run(is_small, lambda: read_tensors(body, head_length, limits))
    allowed = [seconds for seconds in (timeout, tensors.asked.parameters.seconds) if seconds is not None]
    question = _question(request, model, version)

    async def answer(asked: Asked) -> Answered:
        check_version(question, version, asked.choice)
        _check_fit(tensors.images[0], asked.predictor)
        probabilities, timings = await predictions.classify(
            asked, get_turns(request), tensors.images, max_pixels=settings.max_pixels
        )
        chosen, labels = asked.choice, asked.predictor.labels
        response = await _run(
            probabilities.size <= SMALL_ANSWER,
            lambda: write_tensors(tensors.asked, model, chosen.version, probabilities, labels),
        )
        return Answered(response, [ANSWERED] * len(tensors.images), timings)

    return await answer_in_bounds(
        request, question, answer, images=len(tensors.images), seconds=min(allowed, default=None)
    )


def _question(request: Request, model: str, version: str | None) -> Question:
    caller: Caller = request.state.caller
    return question_of(model, version, caller.products)


async def _find(request: Request, model: str, version: str | None) -> Asked:
    """The model that answers under this name, loaded."""
    question = _question(request, model, version)
    asked = await get_model_router(request).ask(get_context(request), question)
    check_version(question, version, asked.choice)
    return asked


async def _run(is_small: bool, work: Callable[[], T]) -> T:
    """The result of ``work``. What is not small would hold up all others on the event loop."""
    return work() if is_small else await run_in_threadpool(work)


def _check_fit(image: bytes | memoryview | predictions.Pixels, predictor: Predictor) -> None:
    """Raises InvalidRequestError for pixels of another size than the model's."""
    if isinstance(image, (bytes, memoryview)) or image.shape == (*predictor.fit.size, 3):
        return
    height, width = predictor.fit.size
    message = f"the model takes pixels of [n, {height}, {width}, 3], got [n, {str(list(image.shape))[1:]}"
    raise InvalidRequestError(
        f"/inputs/0/shape: {message}.",
        hint="Resize the images first, or send their files as `image`: Loupe then resizes as in training.",
        errors=(FieldError("/inputs/0/shape", message),),
    )


def _metadata(name: str, asked: Asked) -> ModelMetadata:
    height, width = asked.predictor.fit.size
    return ModelMetadata(
        name=name,
        versions=[str(asked.choice.version)],
        platform=asked.predictor.artifact.manifest.serving.runtime,
        inputs=[
            TensorMetadata(name="image", datatype="BYTES", shape=[-1]),
            TensorMetadata(name="pixels", datatype="UINT8", shape=[-1, height, width, 3]),
        ],
        outputs=describe_outputs(len(asked.predictor.labels)),
    )
