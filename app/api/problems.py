"""Every error leaves as a problem document (RFC 9457), FastAPI's own included."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from app.errors import FieldError, InvalidRequestError, LoupeError, StorageFullError, is_disk_full
from app.schemas.common import problem_from_error

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "2"


def install_problem_handlers(app: FastAPI) -> None:
    """Registers a handler for each way in which a request can fail."""

    @app.exception_handler(LoupeError)
    async def _loupe_error(request: Request, error: LoupeError) -> JSONResponse:
        return problem_response(request, error)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(request, _as_invalid_request(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        problem = getattr(error, "problem", None)
        return problem_response(request, problem) if problem else _http_problem(request, error)

    @app.exception_handler(OSError)
    async def _os_error(request: Request, error: OSError) -> JSONResponse:
        if is_disk_full(error):
            full = StorageFullError(
                "There is no space left where Loupe keeps its files.", hint="Free some space, then try again."
            )
            return problem_response(request, full)
        return internal_error(request, error)


def problem_response(request: Request, error: LoupeError) -> JSONResponse:
    """The problem document of ``error``, with the headers that its status calls for."""
    if error.status >= 500:
        logger.error("%s %s: %s", request.method, request.url.path, error.detail, exc_info=error)
    headers = {}
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _respond(request, error.as_dict(), headers)


def _respond(request: Request, error: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    problem = problem_from_error(error, request.url.path)
    problem.request_id = getattr(request.state, "request_id", None)
    request.state.error_code = problem.code
    return JSONResponse(
        problem.model_dump(mode="json"), status_code=problem.status, headers=headers, media_type=MEDIA_TYPE
    )


def internal_error(request: Request, error: Exception) -> JSONResponse:
    """The answer to what nobody foresaw: nothing of it but the request id leaves the server."""
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _respond(
        request,
        LoupeError(
            "Something went wrong on our side; the server's log has the trace.",
            hint="Report it with the request id.",
        ).as_dict(),
    )


def _http_problem(request: Request, error: HTTPException) -> JSONResponse:
    """Starlette's own errors: unknown paths, methods, malformed bodies."""
    status = HTTPStatus(error.status_code)
    hints = {
        HTTPStatus.NOT_FOUND: "`GET /docs` lists the paths.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"Allowed here: {(error.headers or {}).get('Allow', 'see /docs')}.",
    }
    detail = (
        error.detail
        if error.detail != status.phrase
        else f"{request.method} {request.url.path}: {status.phrase}"
    )
    body = {
        "code": status.phrase.lower().replace(" ", "_").replace("-", "_"),
        "title": status.phrase,
        "status": int(status),
        "detail": str(detail),
        "hint": hints.get(status),
        "retryable": False,
        "errors": [],
    }
    return _respond(request, body, dict(error.headers or {}))


def _as_invalid_request(error: RequestValidationError) -> InvalidRequestError:
    errors = tuple(FieldError(_pointer(item["loc"]), _message(item)) for item in error.errors())
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidRequestError(
        f"{first.pointer}: {first.message}{more}",
        hint="`GET /docs` shows what this route takes.",
        errors=errors,
    )


def _pointer(location: tuple[int | str, ...]) -> str:
    """A JSON pointer for the body, a plain name for parameters."""
    where, *rest = location
    # Pydantic names the member of a union or the validator that it tried; neither is part of the document.
    path = [
        str(part)
        for part in rest
        if not str(part).startswith(("function-", "tuple[", "constrained-", "dict["))
    ]
    return "/" + "/".join(path) if where == "body" else ".".join([*path]) or str(where)


def _message(item: dict[str, Any]) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "no such field"
        known = _known_fields(item["loc"])
        if known:
            message += f"; valid: {', '.join(known)}"
    return message


def _known_fields(location: tuple[int | str, ...]) -> list[str]:
    """The fields that exist where one was made up, for the two objects that people type by hand."""
    from app.schemas.hyperparameters import Hyperparameters, SplitSettings
    from app.schemas.job import JobCreate

    shapes: dict[tuple[str, ...], type[BaseModel]] = {
        ("body", "hyperparameters"): Hyperparameters,
        ("body", "split"): SplitSettings,
        ("body",): JobCreate,
    }
    owner = shapes.get(tuple(str(part) for part in location[:-1]))
    return sorted(owner.model_fields) if owner else []
