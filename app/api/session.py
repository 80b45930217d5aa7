"""``/session``: a browser's cookie in place of the key"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from app.api.auth import COOKIE, look_again
from app.api.dependencies import KeyRingDep, OpenContextDep
from app.api.limits import admit
from app.api.routes import CheckedRoute
from app.errors import ConflictError, UnauthorizedError
from app.schemas.api_key import Session, SessionCreate
from app.schemas.caller import Caller
from app.services import browser_sessions
from app.services.browser_sessions import SESSION_SECONDS

router = APIRouter(prefix="/session", tags=["access"], route_class=CheckedRoute)


@router.post("", status_code=status.HTTP_201_CREATED)
async def open_session(
    body: SessionCreate, request: Request, response: Response, context: OpenContextDep, ring: KeyRingDep
) -> Session:
    """Sign a browser in: a key becomes a cookie for twelve hours, which no script can read."""
    if ring.is_open:
        raise ConflictError(
            "This server asks for no key.", hint="Use it as it is, or start it with LOUPE_API_KEY set."
        )
    key = body.key.strip().encode()
    try:
        caller, _ = ring.find_key(key)
    except UnauthorizedError:
        await look_again(request)
        caller, _ = ring.find_key(key)
    # The route asks for no key, so nothing before this has counted a request of it.
    await admit(request, caller, "POST", "/session")
    ring.note_use(caller)
    opened = await run_in_threadpool(browser_sessions.open_session, context, ring, body.key)
    response.headers["Cache-Control"] = "no-store"
    _set_cookie(request, response, opened.token, SESSION_SECONDS)
    return opened.session


@router.get("")
def get_session(request: Request, response: Response, context: OpenContextDep) -> Session:
    """Who asks: the name of their key, what it may do, and when a browser's session ends."""
    caller: Caller = request.state.caller
    is_browser = "authorization" not in request.headers and not request.app.state.key_ring.is_open
    response.headers["Cache-Control"] = "no-store"
    return browser_sessions.get_session(context, caller, request.cookies.get(COOKIE) if is_browser else None)


@router.delete("", status_code=status.HTTP_204_NO_CONTENT)
def close_session(request: Request, context: OpenContextDep) -> Response:
    """Sign a browser out, on every process."""
    token = request.cookies.get(COOKIE)
    response = Response(status_code=status.HTTP_204_NO_CONTENT)
    if token is not None:
        browser_sessions.close_session(context, token)
        _set_cookie(request, response, "", 0)
    return response


def _set_cookie(request: Request, response: Response, token: str, seconds: int) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=seconds,
        path=request.scope.get("root_path") or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
