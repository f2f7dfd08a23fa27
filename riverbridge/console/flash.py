"""What an action came to, told by the page that is shown next."""

from __future__ import annotations

import base64

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

COOKIE = "riverbridge_said"
_MOST = 1000
_SECONDS = 30


def done(request: Request, path: str, said: str = "") -> Response:
    """Go to `path`, which begins with / and is one of the console's own, and say this there."""
    response = RedirectResponse(request.scope.get("root_path", "") + path, status_code=303)
    if said:
        text = base64.urlsafe_b64encode(said.encode()[:_MOST]).decode()
        response.set_cookie(COOKIE, text, max_age=_SECONDS, httponly=True, samesite="strict")
    return response


def said_before(request: Request) -> str:
    """What the last action came to, or nothing."""
    try:
        data = base64.b64decode(request.cookies.get(COOKIE, ""), altchars=b"-_", validate=True)
    except ValueError:
        return ""
    return data.decode("utf-8", "ignore")


def forget_said(request: Request, response: Response) -> None:
    """It is said once."""
    if COOKIE in request.cookies and response.status_code < 300:
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
