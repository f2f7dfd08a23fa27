"""Who changed what."""

from __future__ import annotations

import psycopg
from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Refused, Role
from riverbridge.console.ground import Ground
from riverbridge.store.audit import audit_list

PAGE = 100


def audit(request: Request, ground: Ground) -> Response:
    """The entries, the newest first; of one person, or of one subject."""
    given = request.query_params
    before = given.get("before", "")
    if before and not (before.isascii() and before.isdigit() and len(before) < 19):
        raise Refused(400, "before: is no number")
    exchange = audit_list(
        before_id=int(before) if before else None,
        who=given.get("who") or None,
        subject=given.get("subject") or None,
        limit=PAGE,
        schema=ground.database(request).schema,
    )
    try:
        entries = ground.read(request, exchange)
    except psycopg.errors.UndefinedTable:
        entries = None
    return ground.render(
        request,
        "audit.html",
        entries=entries,
        who=given.get("who", ""),
        subject=given.get("subject", ""),
        more=entries[-1].id if entries and len(entries) == PAGE else None,
    )


PAGES = (Page("/audit", audit, Role.OPERATOR),)
