"""The key comes first: nothing of a request is parsed before it is known whose it is."""

from collections.abc import Collection

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from vectorflow.api.backend import AccessOf
from vectorflow.api.errors import answer
from vectorflow.domain.access import Access, KeyScope
from vectorflow.errors import Forbidden, Unauthorized

OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Probes carry no key, and are told nothing."""

_LONGEST_KEY = 1024


class KeyRequired:
    """Answers 401 before the body is read, whatever is asked, and notes the access otherwise."""

    def __init__(self, app: ASGIApp, access_of: AccessOf, open_paths: Collection[str]) -> None:
        self._app = app
        self._access_of = access_of
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        key = key_of(Headers(scope=scope))
        access = await self._access_of(key) if key else None
        if access is not None:
            scope.setdefault("state", {}).update(access=access, tenant=access.tenant)
            await self._app(scope, receive, send)
            return
        refused = Unauthorized(
            "the key is missing, not known here, expired or revoked",
            fix="send a good key of this server in the header VectorFlowKey",
        )
        await answer(refused, scope["path"])(scope, receive, send)


def require(request: Request, scope: KeyScope) -> None:
    """Let a request go on only if its key has this scope; the first line of a route.

    Raises:
        Forbidden: Names the scope that is missing.
    """
    access: Access = request.state.access
    if not access.may(scope):
        message = f"this key may not do that: it lacks the scope {scope.value!r}"
        raise Forbidden(message, fix=f"use a key with the scope {scope.value!r}")


def require_own_tenant(request: Request, tenant: str, what: str) -> None:
    """Let a request go on only if its key is of the server's own tenant.

    Raises:
        Forbidden: Names what it may not see.
    """
    access: Access = request.state.access
    if access.tenant != tenant:
        message = f"this key may not see {what}: it is that of all tenants"
        raise Forbidden(message, fix=f"use a key of the tenant {tenant!r}")


def key_of(headers: Headers) -> str:
    """Read the key: `VectorFlowKey: KEY`, `Authorization: KEY` or `Authorization: Bearer KEY`."""
    key = headers.get("vectorflowkey") or headers.get("authorization", "")
    scheme, _, rest = key.strip().partition(" ")
    key = rest.strip() if rest and scheme.lower() == "bearer" else key.strip()
    return key if len(key) <= _LONGEST_KEY else ""
