"""The published document of the API: FastAPI's, with the ways to show a key."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from app.api.routes import SECURITY_SCHEMES


class DocumentedAPI(FastAPI):
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        return document
