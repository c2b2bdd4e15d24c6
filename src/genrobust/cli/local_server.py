"""Serve a page on this machine only, at an address that no other page can guess."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from genrobust.core import GenrobustError, UserError

HOST = "127.0.0.1"
# A page of another name that resolves to this machine gets no answer.
HOSTS = [HOST, "localhost"]
# In addition to the policy in the page. No other page may frame it, and no link may tell its address with the token.
PAGE_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
NO_SNIFF = {"X-Content-Type-Options": "nosniff"}
ADVICE = "open the address that genrobust printed"
FORBIDDEN = f"forbidden: {ADVICE}"


def local_app(html: str, routes: Sequence[Route], token: str) -> Starlette:
    """Return a web application with a page and more `routes`, all below ``/token/``."""

    def page(request: Request) -> Response:
        return HTMLResponse(html, headers=PAGE_HEADERS)

    def failed(request: Request, error: Exception) -> Response:
        return PlainTextResponse(str(error), 500, NO_SNIFF)

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = error.detail
        # Starlette's own error has only the phrase of its number.
        if detail == HTTPStatus(error.status_code).phrase:
            detail = f"{detail}: {request.method} {request.url.path}: {ADVICE}"
        return PlainTextResponse(detail, error.status_code, {**(error.headers or {}), **NO_SNIFF})

    mounted = Mount(f"/{token}", routes=[Route("/", page), *routes])
    return Starlette(
        routes=[mounted, Mount("/", PlainTextResponse(FORBIDDEN, 403, NO_SNIFF))],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)],
        exception_handlers={GenrobustError: failed, HTTPException: refused},
    )


def serve(make_app: Callable[[str], Starlette], port: int, opened: Callable[[str], None]) -> None:
    """Serve the application that `make_app` returns for a token, until Ctrl-C. `opened` gets its address.

    Args:
        port: 0 means a free port.
    """
    try:
        listener = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--port {port}: {reason}: choose another, or leave it out for a free one") from None
    with listener, suppress(KeyboardInterrupt):
        token = secrets.token_urlsafe(24)
        opened(f"http://{HOST}:{listener.getsockname()[1]}/{token}/")
        # uvicorn's logging setup would close the existing handlers.
        config = uvicorn.Config(
            make_app(token), log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        uvicorn.Server(config).run(sockets=[listener])
