"""A token before everything else: who does not bring it is answered 401 and nothing more."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

SCHEME = "bearer"


class BearerGate:
    """An ASGI application that lets requests with the right token through to another one."""

    def __init__(self, application: ASGIApp, token: str) -> None:
        self._application = application
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._is_right(Headers(scope=scope)):
            await self._application(scope, receive, send)
            return
        refusal = JSONResponse(
            {"error": "the token is missing or wrong; send Authorization: Bearer TOKEN"},
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refusal(scope, receive, send)

    def _is_right(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Takes the same time wherever the first wrong character stands.
        is_same = hmac.compare_digest(given.strip().encode(), self._token)
        return scheme.lower() == SCHEME and is_same
