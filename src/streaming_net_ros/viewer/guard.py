"""Who may see the page and who may change the network: token, sessions, hosts and origins.

Pure values and an ASGI middleware; knows nothing of pages. A browser shows pages of anybody, who
may have it send requests here: so the name under which the page was asked for must be one of ours
(against rebound names), and a request that comes from another page's origin is refused, web
sockets among them.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_MOST_SESSIONS = 1000
_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Guard:
    """The rights of visitors.

    Args:
        token: opens the controls; empty: one is made.
        read_only: nobody may change anything.
        host: under which the page is served.

    Attributes:
        token: that opens the controls.
        host: under which the page is served.
    """

    def __init__(self, token: str = "", *, read_only: bool = False, host: str = "") -> None:
        self.token = token or secrets.token_urlsafe(16)
        self.host = host
        self.is_read_only = read_only
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", host.lower()} - {""}
        self._sessions: dict[str, None] = {}

    def admit(self, token: str) -> str | None:
        """A new session's secret for whoever knows the token; None otherwise."""
        known = hmac.compare_digest(token.encode(), self.token.encode())
        if not known or self.is_read_only:
            return None
        session = secrets.token_urlsafe(24)
        self._sessions[session] = None
        while len(self._sessions) > _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return session

    def may_control(self, session: str | None) -> bool:
        """Whether a session's visitor may change the network."""
        return not self.is_read_only and session is not None and session in self._sessions

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Why a request is refused, before anything looks at it; empty if it is not.

        Args:
            headers: of a http request or a web socket, with names in lower case.
        """
        host = headers.get("host", "")
        if not self._is_ours(host):
            return "unknown host"
        origin = headers.get("origin")
        try:
            is_ours = origin is None or urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:
            is_ours = False
        return "" if is_ours else "another origin"

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)  # a number cannot be rebound
        except ValueError:
            return False
        return True


class Gate:
    """ASGI middleware: asks the guard first, and forbids other pages to frame this one.

    Args:
        app: what is guarded.
        guard: asked.
    """

    def __init__(self, app: Any, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve or refuse one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        why = self._guard.refusal(headers)
        if why and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": why})
            return
        if why:
            start = {"type": "http.response.start", "status": 403}
            await send({**start, "headers": [(b"content-type", b"text/plain"), *_HEADERS]})
            await send({"type": "http.response.body", "body": why.encode()})
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        await self._app(scope, receive, send_guarded)
