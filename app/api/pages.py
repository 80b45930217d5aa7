"""``/docs`` and ``/redoc``: the published document for people, without any address beyond this server.

Where a key is asked for, they first ask a browser to sign in (``app/api/session.py``).
"""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request, Response, status
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from app.api.auth import identify, shows_something
from app.api.limits import admit
from app.api.recording import describe_route
from app.api.scopes import ANY
from app.errors import NotFoundError, UnauthorizedError
from app.schemas.caller import Caller
from app.services.key_ring import KeyRing

router = APIRouter(include_in_schema=False)

# Both libraries put styles into the page, and ReDoc searches in a worker that it writes itself.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    # What is shown depends on the cookie.
    "Cache-Control": "no-store",
}

PAGE = """<!DOCTYPE html>
<html lang="en" class="{kind}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{root}/docs/assets/session.css">
{head}
</head>
<body data-root="{root}">
{body}
{scripts}
</body>
</html>
"""
DOCUMENT = """<div id="page"></div>
<noscript>This page needs JavaScript. It shows <a href="{root}/openapi.json">openapi.json</a>.</noscript>"""
SIGNED_IN = """<form id="sign-out" class="session">
<span>Signed in with the key <b>{name}</b></span>
<button>Sign out</button>
<p role="alert"></p>
</form>
"""
SIGN_IN = """<main>
<h1>Loupe</h1>
<form id="sign-in" class="session" method="post">
<label for="key">This server asks for a key.</label>
<input id="key" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button>
<p role="alert"></p>
</form>
<noscript>This page needs JavaScript.</noscript>
</main>"""

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

SESSION_START = b"""const root = document.body.dataset.root;

async function send(form, method, body) {
  const words = form.querySelector("[role=alert]");
  const button = form.querySelector("button");
  words.textContent = "";
  button.disabled = true;
  try {
    const headers = body ? { "Content-Type": "application/json" } : {};
    const answer = await fetch(root + "/session", { method, headers, body: body && JSON.stringify(body) });
    if (answer.ok) {
      location.reload();
      return;
    }
    const problem = await answer.json();
    words.textContent =
      answer.status === 401 ? "The server does not know this key, or it has expired." : problem.detail;
  } catch {
    words.textContent = "The server does not answer. Try again in a moment.";
  }
  button.disabled = false;
}

document.getElementById("sign-in")?.addEventListener("submit", (event) => {
  event.preventDefault();
  send(event.target, "POST", { key: document.getElementById("key").value });
});
document.getElementById("sign-out")?.addEventListener("submit", (event) => {
  event.preventDefault();
  send(event.target, "DELETE");
});
"""
SESSION_STYLE = b""":root.sign-in { color-scheme: light dark; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 24rem; margin: 15vh auto 0; padding: 0 1rem; }
main .session { display: grid; gap: 0.75rem; }
body > .session {
  display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; align-items: center; justify-content: flex-end;
  padding: 0.5rem 1rem; background: #f4f4f4; color: #222;
}
.session input, .session button { font: inherit; padding: 0.4rem 0.75rem; }
.session [role=alert] { margin: 0; color: light-dark(#c62828, #ff8a80); }
.session [role=alert]:empty { display: none; }
"""

TYPES = {".js": "text/javascript", ".css": "text/css"}
FROM_PACKAGE = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js")
OWN = {
    "swagger-start.js": SWAGGER_START,
    "redoc-start.js": REDOC_START,
    "session.js": SESSION_START,
    "session.css": SESSION_STYLE,
}
# The one image that ReDoc fetches from its makers.
REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"


@router.get("/")
def get_start() -> RedirectResponse:
    """Where somebody begins who knows only the address."""
    return RedirectResponse("/ui")


@router.get("/docs")
async def get_docs(request: Request) -> HTMLResponse:
    """The routes to read and to try, by Swagger UI."""
    style = '<link rel="stylesheet" href="{root}/docs/assets/swagger-ui.css">'
    return await _page(request, "Loupe: API", ("swagger-ui-bundle.js", "swagger-start.js"), style)


@router.get("/redoc")
async def get_redoc(request: Request) -> HTMLResponse:
    """The routes to read, by ReDoc."""
    return await _page(request, "Loupe: API reference", ("redoc.standalone.js", "redoc-start.js"))


@router.get("/openapi.json")
async def get_document(request: Request) -> JSONResponse:
    """The published document, with the prefix under which a proxy shows this server."""
    await _ask(request)
    root = request.scope.get("root_path", "").rstrip("/")
    servers = {"servers": [{"url": root}]} if root else {}
    return JSONResponse({**request.app.openapi(), **servers})


@router.get("/docs/assets/{name}")
def get_asset(name: str) -> Response:
    """A script or a style of these pages."""
    headers = {"Cache-Control": "no-cache"}
    return Response(read_asset(name), headers={**headers, "Content-Type": TYPES[Path(name).suffix]})


def read_asset(name: str) -> bytes:
    """A file of the package fastapi-offline, or one of our own. Raises NotFoundError."""
    if name in OWN:
        return OWN[name]
    if name not in FROM_PACKAGE:
        raise NotFoundError(f"There is no asset {name!r}.", hint="`GET /docs` loads all that it needs.")
    return (_folder() / name).read_bytes().replace(REDOC_LOGO, b"data:,")


def _folder() -> Path:
    # The package is not imported: it would bring an application of its own.
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "static"


async def _ask(request: Request) -> Caller:
    """Who asks, and may, as every route asks it. Raises UnauthorizedError; LimitReachedError."""
    path = request.scope["route"].path
    describe_route(request, path, status.HTTP_200_OK)
    caller = await identify(request, ANY)
    await admit(request, caller, request.method, path)
    return caller


async def _page(request: Request, title: str, scripts: tuple[str, str], head: str = "") -> HTMLResponse:
    """The page, or where nobody may see it yet, one to sign in."""
    root = escape(request.scope.get("root_path", "").rstrip("/"))
    library, start = (f"{root}/docs/assets/{name}" for name in scripts)
    session = f'<script type="module" src="{root}/docs/assets/session.js"></script>'
    try:
        caller = await _ask(request)
    except UnauthorizedError:
        if not shows_something(request):
            # A person who is to sign in, and no attempt with a wrong key.
            describe_route(request, request.scope["route"].path, status.HTTP_401_UNAUTHORIZED)
        parts = {"title": "Loupe: sign in", "head": "", "body": SIGN_IN, "scripts": session}
        html = PAGE.format(kind="sign-in", root=root, **parts)
        return HTMLResponse(html, status.HTTP_401_UNAUTHORIZED, headers=HEADERS)
    html = PAGE.format(
        kind="document",
        title=title,
        head=head.format(root=root),
        root=root,
        body=_signed_in(request, caller) + DOCUMENT.format(root=root),
        scripts=f'<script src="{library}"></script>\n'
        f'<script src="{start}" data-document="{root}/openapi.json"></script>\n{session}',
    )
    return HTMLResponse(html, headers=HEADERS)


def _signed_in(request: Request, caller: Caller) -> str:
    """Where a cookie came: whose key it stands for, and the way out."""
    ring: KeyRing = request.app.state.key_ring
    is_session = not ring.is_unread and not ring.is_open and "authorization" not in request.headers
    return SIGNED_IN.format(name=escape(caller.name)) if is_session else ""
