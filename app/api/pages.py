"""``/docs`` and ``/redoc``: the published document for people, without any address beyond this server."""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from app.errors import NotFoundError

router = APIRouter(include_in_schema=False)

# Both libraries put styles into the page, and ReDoc searches in a worker that it writes itself.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
{head}
</head>
<body>
<div id="page"></div>
<noscript>This page needs JavaScript. It shows <a href="{root}/openapi.json">openapi.json</a>.</noscript>
{scripts}
</body>
</html>
"""

SWAGGER_START = b"""SwaggerUIBundle({
  url: document.currentScript.dataset.document,
  dom_id: "#page",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  validatorUrl: null,
  queryConfigEnabled: false,
});
"""
REDOC_START = b"""Redoc.init(document.currentScript.dataset.document, {}, document.getElementById("page"));
"""

TYPES = {".js": "text/javascript", ".css": "text/css"}
FROM_PACKAGE = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js")
STARTS = {"swagger-start.js": SWAGGER_START, "redoc-start.js": REDOC_START}
# The one image that ReDoc fetches from its makers.
REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"


@router.get("/")
def get_start() -> RedirectResponse:
    """Where somebody begins who knows only the address."""
    return RedirectResponse("/docs")


@router.get("/docs")
def get_docs(request: Request) -> HTMLResponse:
    """The routes to read and to try, by Swagger UI."""
    style = '<link rel="stylesheet" href="{root}/docs/assets/swagger-ui.css">'
    return _page(request, "Loupe: API", ("swagger-ui-bundle.js", "swagger-start.js"), style)


@router.get("/redoc")
def get_redoc(request: Request) -> HTMLResponse:
    """The routes to read, by ReDoc."""
    return _page(request, "Loupe: API reference", ("redoc.standalone.js", "redoc-start.js"))


@router.get("/docs/assets/{name}")
def get_asset(name: str) -> Response:
    """A script or a style of these pages."""
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(read_asset(name), headers={**headers, "Content-Type": TYPES[Path(name).suffix]})


def read_asset(name: str) -> bytes:
    """A file of the package fastapi-offline, or what starts it. Raises NotFoundError."""
    if name in STARTS:
        return STARTS[name]
    if name not in FROM_PACKAGE:
        raise NotFoundError(f"There is no asset {name!r}.")
    return (_folder() / name).read_bytes().replace(REDOC_LOGO, b"data:,")


def _folder() -> Path:
    # The package is not imported: it would bring an application of its own.
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "static"


def _page(request: Request, title: str, scripts: tuple[str, str], head: str = "") -> HTMLResponse:
    root = escape(request.scope.get("root_path", "").rstrip("/"))
    library, start = (f"{root}/docs/assets/{name}" for name in scripts)
    html = PAGE.format(
        title=title,
        head=head.format(root=root),
        root=root,
        scripts=f'<script src="{library}"></script>\n'
        f'<script src="{start}" data-document="{root}/openapi.json"></script>',
    )
    return HTMLResponse(html, headers=HEADERS)
