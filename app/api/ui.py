"""``/ui``: the pages for people.

They are files, made from ``ui/`` by ``make ui``. What they show, the browser asks the public API.

The files hold nothing of anybody, so they ask for no key: what they ask the API for does.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response, status
from fastapi.responses import HTMLResponse

from app.errors import NotFoundError

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "ui"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    # It names the scripts of this release.
    "Cache-Control": "no-cache",
}
ASSET_HEADERS = {
    # Its name changes with its content.
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
}
TYPES = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}
ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""Those in which the build leaves each file, the best first."""
UNBUILT = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Loupe</title><link rel="icon" href="data:,"></head>
<body>
<h1>The pages are not here</h1>
<p>This Loupe was installed without them. In a checkout of its code, <code>make ui</code> makes them.</p>
<p>All else works: <a href="{root}/docs">the HTTP API</a>, and the command <code>loupe</code>.</p>
</body>
</html>
"""


@router.get("/ui/assets/{name}")
def get_asset(name: str, accept_encoding: Annotated[str, Header()] = "") -> Response:
    """A script or a style of the pages, compressed as the browser takes it."""
    # Only what the folder lists is ever read, whatever a path says.
    files = {path.name: path for path in (FOLDER / "assets").glob("*")}
    found = files.get(name)
    if found is None or found.suffix not in TYPES:
        raise NotFoundError(f"There is no asset {name!r}.", hint="Load the page again.")
    headers = {**ASSET_HEADERS, "Content-Type": TYPES[found.suffix]}
    taken = {part.strip().lower() for part in accept_encoding.split(",")}
    for encoding, ending in ENCODINGS.items():
        # A browser names them without a weight; one that has a weight may be refused by it.
        if encoding in taken and (compressed := files.get(name + ending)) is not None:
            return Response(compressed.read_bytes(), headers={**headers, "Content-Encoding": encoding})
    return Response(found.read_bytes(), headers=headers)


@router.get("/ui")
@router.get("/ui/{path:path}")
def get_page(request: Request) -> HTMLResponse:
    """The one page whose scripts show what stands at the address: each address works after a reload."""
    root = escape(request.scope.get("root_path", "").rstrip("/"))
    try:
        page = (FOLDER / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return HTMLResponse(UNBUILT.format(root=root), status.HTTP_404_NOT_FOUND, headers=PAGE_HEADERS)
    return HTMLResponse(page.replace("{root}", root), headers=PAGE_HEADERS)
