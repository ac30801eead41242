"""The outermost layer: forgiving about slashes, and JSON whatever breaks inside."""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vectorflow.api.errors import answer

_SLASHES = re.compile("//+")


class Edge:
    """Serves `//embed` and `/embed/` as `/embed`, and answers errors that nobody else did."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = _SLASHES.sub("/", scope["path"]).rstrip("/") or "/"
        began = False

        async def watched(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # the request handler's edge: a client gets JSON, the log why
            if began:
                raise
            await answer(error, scope["path"])(scope, receive, send)
