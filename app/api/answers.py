"""Responses to creating requests."""

from __future__ import annotations

from fastapi import status
from fastapi.responses import JSONResponse

from app.services.idempotency import Answer


def created(answer: Answer) -> JSONResponse:
    """201 with the resource and where it lives."""
    return _respond(answer, status.HTTP_201_CREATED)


def accepted(answer: Answer) -> JSONResponse:
    """202: stored, and done by a worker."""
    return _respond(answer, status.HTTP_202_ACCEPTED)


def _respond(answer: Answer, status_code: int) -> JSONResponse:
    headers = {"Location": answer.location} if answer.location else None
    return JSONResponse(answer.body, status_code=status_code, headers=headers)
