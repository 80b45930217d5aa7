"""Every error leaves as a problem document (RFC 9457), FastAPI's own included."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.api.invalid_requests import invalid_request
from app.api.prediction_routes import is_protocol_path
from app.errors import (
    ArtifactError,
    BusyError,
    LimitReachedError,
    LoupeError,
    StorageFullError,
    UnsatisfiableRangeError,
    UnsupportedEncodingError,
    is_disk_full,
)
from app.schemas.common import problem_from_error

logger = logging.getLogger(__name__)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "2"


def install_problem_handlers(app: FastAPI) -> None:
    """Registers a handler for each way in which a request can fail."""

    @app.exception_handler(LoupeError)
    async def _loupe_error(request: Request, error: LoupeError) -> JSONResponse:
        return problem_response(request, error)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        body = getattr(request.scope.get("route"), "body_field", None)
        shape = body.field_info.annotation if body is not None else None
        return problem_response(request, invalid_request(error.errors(), shape))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return _other_method(request)
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


class BodyRefusedError(HTTPException):
    """Raised while a body is read: FastAPI passes on an HTTPException and turns anything else into a 400."""

    def __init__(self, problem: LoupeError) -> None:
        super().__init__(status_code=problem.status)
        self.problem = problem


def problem_response(request: Request, error: LoupeError) -> JSONResponse:
    """The problem document of ``error``, with the headers that its status calls for."""
    # That there is much to do is no fault to look into; the metrics count it.
    if error.status >= 500 and not isinstance(error, BusyError):
        logger.error("%s %s: %s", request.method, request.url.path, error.detail, exc_info=_trace(error))
    headers = {}
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    if isinstance(error, LimitReachedError):
        headers["Retry-After"] = str(error.retry_after)
        request.app.state.measurements.limits.labels(error.limit).inc()
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsatisfiableRangeError):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, UnsupportedEncodingError):
        headers["Accept-Encoding"] = "identity"
    return _respond(request, error.as_dict(), headers)


def _respond(request: Request, error: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    problem = problem_from_error(error, request.url.path)
    problem.request_id = getattr(request.state, "request_id", None)
    request.state.error_code = problem.code
    content = problem.model_dump(mode="json")
    if is_protocol_path(get_route_path(request.scope)):
        # Clients of the Open Inference Protocol show this member alone.
        content["error"] = " ".join(filter(None, (problem.detail, problem.hint)))
    return JSONResponse(content, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def _trace(error: LoupeError) -> LoupeError | None:
    """What the log shows beside the line: of a damaged model that says all, for as many as ask for it."""
    return None if isinstance(error, ArtifactError) else error


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


def _other_method(request: Request) -> Response:
    """The answer to OPTIONS, and to a method that the path does not have."""
    allowed = {"Allow": ", ".join(_allowed_methods(request))}
    if request.method == "OPTIONS":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=allowed)
    return _http_problem(request, HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers=allowed))


def _allowed_methods(request: Request) -> list[str]:
    """All that the path takes: each method of a path is a route of its own."""
    routes = request.app.router.routes
    found = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return sorted({*found, "OPTIONS", *({"HEAD"} if "GET" in found else ())})


def _http_problem(request: Request, error: HTTPException) -> JSONResponse:
    """Starlette's own errors: unknown paths, methods, malformed bodies."""
    status = HTTPStatus(error.status_code)
    hints = {
        HTTPStatus.BAD_REQUEST: "The body is JSON that no parser reads, such as one nested too deeply.",
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
