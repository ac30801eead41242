"""The key comes first: nothing of a request is parsed before it is known whose it is."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from vectorflow.api.backend import TenantOf
from vectorflow.api.errors import answer
from vectorflow.errors import Unauthorized

OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Probes carry no key, and are told nothing."""

_LONGEST_KEY = 1024


class KeyRequired:
    """Answers 401 before the body is read, whatever is asked, and notes the tenant otherwise."""

    def __init__(self, app: ASGIApp, tenant_of: TenantOf) -> None:
        self._app = app
        self._tenant_of = tenant_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        key = key_of(Headers(scope=scope))
        tenant = await self._tenant_of(key) if key else None
        if tenant is not None:
            scope.setdefault("state", {})["tenant"] = tenant
            await self._app(scope, receive, send)
            return
        refused = Unauthorized(
            "the key is missing or not known here",
            fix="send a key of this server in the header VectorFlowKey",
        )
        await answer(refused)(scope, receive, send)


def key_of(headers: Headers) -> str:
    """Read the key: `VectorFlowKey: KEY`, `Authorization: KEY` or `Authorization: Bearer KEY`."""
    key = headers.get("vectorflowkey") or headers.get("authorization", "")
    scheme, _, rest = key.strip().partition(" ")
    key = rest.strip() if rest and scheme.lower() == "bearer" else key.strip()
    return key if len(key) <= _LONGEST_KEY else ""
