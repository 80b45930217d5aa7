"""What each route asks of a key: the one place that says it.

A route that is not here cannot be made (``app/api/routes.py``). `docs/access.md` shows this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import ForbiddenError
from app.schemas.caller import Caller
from app.schemas.scopes import IMPLIED, SCOPES, Scope


@dataclass(frozen=True)
class Need:
    """``scope``: None where any key will do. ``is_unbound``: not with a key that is bound to products.
    ``is_local``: answered also before a server without LOUPE_API_KEY has reached its database, which alone
    knows whether there are keys.
    """

    scope: Scope | None
    is_unbound: bool = False
    is_local: bool = False

    def check(self, caller: Caller) -> None:
        """Raises ForbiddenError. It says the same whether what was asked for exists or not."""
        if self.scope is not None and self.scope not in caller.scopes:
            given = ", ".join(scope for scope in SCOPES if scope in caller.scopes)
            enough = [scope for scope in SCOPES if self.scope == scope or self.scope in IMPLIED[scope]]
            raise ForbiddenError(
                f"The key {caller.name!r} may not do this: it has {given}, and this needs {self.scope}.",
                hint=f"Use a key with one of the scopes {', '.join(enough)}. `GET /api-keys` lists the keys.",
            )
        if self.is_unbound and caller.products is not None:
            raise ForbiddenError(
                f"The key {caller.name!r} is bound to products, and this is about all of them.",
                hint="Use a key that is bound to none.",
            )


OPEN = None
"""Of a route that asks for no key."""
READ, PREDICT, WRITE, PROMOTE, ADMIN = (
    Need(scope) for scope in ("read", "predict", "write", "promote", "admin")
)
LOCAL = Need("read", is_local=True)
ANY = Need(None, is_local=True)
"""Of the pages, and of the document that they show (``app/api/pages.py``)."""

NEEDS: dict[tuple[str, str], Need | None] = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/v2/health/live"): OPEN,
    ("GET", "/v2/health/ready"): OPEN,
    ("GET", "/session"): Need(None),
    ("POST", "/session"): OPEN,
    ("DELETE", "/session"): OPEN,
    ("GET", "/version"): LOCAL,
    ("GET", "/formats"): LOCAL,
    ("POST", "/products"): Need("write", is_unbound=True),
    ("GET", "/products"): READ,
    ("GET", "/products/{product}"): READ,
    ("PATCH", "/products/{product}"): WRITE,
    ("DELETE", "/products/{product}"): WRITE,
    ("GET", "/products/{product}/leaderboard"): READ,
    ("GET", "/products/{product}/prediction-counts"): READ,
    ("GET", "/products/{product}/aliases"): READ,
    ("GET", "/products/{product}/aliases/{name}"): READ,
    ("PUT", "/products/{product}/aliases/{name}"): PROMOTE,
    ("POST", "/products/{product}/rollback"): PROMOTE,
    ("DELETE", "/products/{product}/aliases/{name}"): PROMOTE,
    ("GET", "/products/{product}/aliases/{name}/history"): READ,
    ("POST", "/uploads"): WRITE,
    ("GET", "/uploads"): WRITE,
    ("GET", "/uploads/{upload}"): WRITE,
    ("PATCH", "/uploads/{upload}"): WRITE,
    ("DELETE", "/uploads/{upload}"): WRITE,
    ("POST", "/products/{product}/datasets"): WRITE,
    ("GET", "/products/{product}/datasets"): READ,
    ("GET", "/datasets/{dataset}"): READ,
    ("DELETE", "/datasets/{dataset}"): WRITE,
    ("GET", "/datasets/{dataset}/report"): READ,
    ("GET", "/datasets/{dataset}/items"): READ,
    ("GET", "/datasets/{dataset}/items/{item}"): READ,
    ("GET", "/datasets/{dataset}/items/{item}/image"): READ,
    ("POST", "/datasets/{dataset}/similar"): READ,
    ("POST", "/datasets/{dataset}/versions"): WRITE,
    ("GET", "/datasets/{dataset}/diff/{other}"): READ,
    ("POST", "/datasets/{dataset}/examinations"): WRITE,
    ("GET", "/datasets/{dataset}/examination"): READ,
    ("POST", "/datasets/{dataset}/exports"): WRITE,
    ("GET", "/datasets/{dataset}/exports/{job}"): READ,
    ("POST", "/jobs"): WRITE,
    ("GET", "/jobs"): READ,
    ("GET", "/jobs/{job}"): READ,
    ("DELETE", "/jobs/{job}"): WRITE,
    ("POST", "/jobs/{job}/cancel"): WRITE,
    ("POST", "/jobs/{job}/pause"): WRITE,
    ("POST", "/jobs/{job}/resume"): WRITE,
    ("POST", "/jobs/{job}/retry"): WRITE,
    ("POST", "/jobs/{job}/stop"): WRITE,
    ("GET", "/jobs/{job}/metrics"): READ,
    ("GET", "/jobs/{job}/events"): READ,
    ("GET", "/jobs/{job}/findings"): READ,
    ("GET", "/jobs/{job}/logs"): READ,
    ("GET", "/jobs/{job}/logs/{name}"): READ,
    ("POST", "/sweeps"): WRITE,
    ("GET", "/sweeps"): READ,
    ("GET", "/sweeps/{sweep}"): READ,
    ("POST", "/sweeps/{sweep}/cancel"): WRITE,
    ("POST", "/jobs/{job}/evaluations"): WRITE,
    ("GET", "/jobs/{job}/evaluation"): READ,
    ("GET", "/jobs/{job}/evaluation/predictions"): READ,
    ("GET", "/jobs/{job}/evaluation/curves"): READ,
    ("GET", "/jobs/{job}/evaluation/examples"): READ,
    ("GET", "/jobs/{job}/evaluation/report"): READ,
    ("GET", "/models"): READ,
    ("GET", "/models/{model}"): READ,
    ("GET", "/models/{model}/artifact"): READ,
    ("POST", "/models/{model}/exports"): WRITE,
    ("POST", "/products/{product}/models"): ADMIN,
    ("GET", "/networks"): LOCAL,
    ("GET", "/networks/{network}"): LOCAL,
    ("POST", "/predict"): PREDICT,
    # The whole protocol with one scope: its clients look before they ask, and looking loads a model too.
    ("GET", "/v2"): Need("predict", is_local=True),
    ("GET", "/v2/models/{model}"): PREDICT,
    ("GET", "/v2/models/{model}/ready"): PREDICT,
    ("GET", "/v2/models/{model}/versions/{version}"): PREDICT,
    ("GET", "/v2/models/{model}/versions/{version}/ready"): PREDICT,
    ("POST", "/v2/models/{model}/infer"): PREDICT,
    ("POST", "/v2/models/{model}/versions/{version}/infer"): PREDICT,
    ("POST", "/predictions"): PREDICT,
    ("GET", "/predictions/{job}"): PREDICT,
    ("GET", "/predictions/{job}/results"): PREDICT,
    ("GET", "/predictions/{job}/skipped"): PREDICT,
    ("GET", "/workers"): READ,
    ("GET", "/doctor"): Need("admin", is_unbound=True),
    ("GET", "/metrics"): Need("read", is_unbound=True, is_local=True),
    ("GET", "/audit"): ADMIN,
    ("POST", "/api-keys"): ADMIN,
    ("GET", "/api-keys"): ADMIN,
    ("GET", "/api-keys/{key}"): ADMIN,
    ("PATCH", "/api-keys/{key}"): ADMIN,
    ("POST", "/api-keys/{key}/rotate"): ADMIN,
    ("DELETE", "/api-keys/{key}"): ADMIN,
    ("POST", "/webhooks"): ADMIN,
    ("GET", "/webhooks"): ADMIN,
    ("GET", "/webhooks/{webhook}"): ADMIN,
    ("PATCH", "/webhooks/{webhook}"): ADMIN,
    ("DELETE", "/webhooks/{webhook}"): ADMIN,
    ("POST", "/webhooks/{webhook}/rotate"): ADMIN,
    ("POST", "/webhooks/{webhook}/test"): ADMIN,
    ("GET", "/webhooks/{webhook}/deliveries"): ADMIN,
    ("POST", "/webhooks/{webhook}/deliveries/{delivery}/retry"): ADMIN,
}


def need_of(method: str, path: str) -> Need | None:
    """Raises LookupError for a route of which the table says nothing."""
    if (method, path) not in NEEDS:
        raise LookupError(f"NEEDS in app/api/scopes.py has no line for {method} {path}")
    return NEEDS[method, path]
