"""The guard in front of every request. A loopback address alone protects nothing: any web page may send requests to it.

Three locks, each enough for most attacks: the Host must be this machine (a foreign name made to point here is not),
the Origin must be this page, and the token of the printed address must come in a header that no other page can set.
"""

import secrets

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.review.refusals import TooLargeError

MOST_BYTES = 64 * 1024  # of a request
_MOST_DIGITS = 9
TOKEN_HEADER = "x-review-token"
_POLICY = (
    "default-src 'none'; img-src 'self' blob:; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def new_token() -> str:
    """Return a secret of 32 random bytes."""
    return secrets.token_urlsafe(32)


class Guard:
    """Middleware: refuses foreign requests, and adds the headers that keep a browser inside."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Wrap an app.

        Args:
            app: for the requests let in.
            token: the secret, needed for everything under /api/.
        """
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                given = {name.lower() for name, _ in message["headers"]}
                if b"cache-control" not in given:
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        if scope["type"] != "http":
            return
        problem = self._find_problem(scope)
        if problem is not None:
            status, reason = problem
            await JSONResponse({"error": reason}, status)(scope, receive, send_guarded)
            return
        await self._app(scope, _limit_body(receive), send_guarded)

    def _find_problem(self, scope: Scope) -> tuple[int, str] | None:
        """Return status and reason for a request to refuse."""
        headers = Headers(scope=scope)
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return 403, "a request of another page"
        if not scope["path"].startswith("/api/"):
            return None
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "a request of another page"
        if not secrets.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self._token):
            return 403, "wrong token; open the address printed by vitrollout review"
        if scope["method"] == "POST":
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return 415, "only JSON is taken"
            length = headers.get("content-length", "0")
            if not length.isdecimal() or len(length) > _MOST_DIGITS or int(length) > MOST_BYTES:
                return 413, f"more than {MOST_BYTES} bytes"
        return None


def _limit_body(receive: Receive) -> Receive:
    """Count the bytes of a request sent without a length."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MOST_BYTES:
            raise TooLargeError(f"more than {MOST_BYTES} bytes")
        return message

    return receive_limited
