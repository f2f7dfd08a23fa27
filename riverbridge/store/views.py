"""The views that people have saved: our own table `riverbridge_view`, shared by all who look."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from riverbridge.errors import InvalidRequest
from riverbridge.model.view import View, checked_name
from riverbridge.store.audit import Record
from riverbridge.store.exchange import Exchange, Query, Rows, sqlstate

MOST = 50
"""Views of one database."""

_UNIQUE_VIOLATION = "23505"


class SavedView(View, frozen=True, kw_only=True):
    """A row. owner: who saved it."""

    id: int
    owner: str
    saved_at: datetime


_view = msgspec.json.Decoder(SavedView)


def views(*, schema: str | None) -> Exchange[list[SavedView]]:
    """All of them, by name."""
    return [_view.decode(text) for (text,) in (yield Query("view/list", {}, schema))]


def view_save(
    view: View, *, owner: str, schema: str | None
) -> Exchange[tuple[SavedView, list[Record]]]:
    """Keep a view under its name. Raises InvalidRequest, also where there are MOST of them."""
    values = msgspec.structs.asdict(view) | {
        "name": checked_name(view.name),
        "owner": owner,
        "most": MOST,
    }
    ((text, count),) = yield Query("view/save", values, schema)
    if text is None:
        raise (
            _taken(values["name"])
            if count < MOST
            else InvalidRequest(
                f"there are {count} views, and {MOST} at most: delete one that nobody uses"
            )
        )
    saved = _view.decode(text)
    return saved, [Record("save", f"view {saved.id}", None, _told(saved))]


def view_rename(
    id: int, name: str, *, schema: str | None
) -> Exchange[tuple[SavedView | None, list[Record]]]:
    """Give it another name; as it was, or None if it is not there. Raises InvalidRequest."""
    name = checked_name(name)
    try:
        rows = yield Query("view/rename", {"id": id, "name": name}, schema)
    except Exception as error:
        if sqlstate(error) != _UNIQUE_VIOLATION:
            raise
        raise _taken(name) from error
    return _changed(rows, "rename", {"name": name})


def view_delete(id: int, *, schema: str | None) -> Exchange[tuple[SavedView | None, list[Record]]]:
    """Forget it; as it was, or None if it is not there."""
    rows = yield Query("view/delete", {"id": id}, schema)
    return _changed(rows, "delete", None)


def _changed(rows: Rows, action: str, after: Any) -> tuple[SavedView | None, list[Record]]:
    if not rows:
        return None, []
    before = _view.decode(rows[0][0])
    return before, [Record(action, f"view {before.id}", _told(before), after)]


def _told(view: SavedView) -> dict[str, Any]:
    return {
        "name": view.name,
        "search": view.search,
        "state": view.job_state,
        "sort": view.sort,
        "owner": view.owner,
    }


def _taken(name: str) -> InvalidRequest:
    return InvalidRequest(f"name: there is a view {name} already: choose another, or delete it")
