"""Views: searches of the jobs list under a name, shared by all who use the console."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.flash import done
from riverbridge.console.frame import Form, Page, Refused, Role, form_of, visitor_of
from riverbridge.console.ground import Ground
from riverbridge.console.pages.jobs import SORTS, Wanted
from riverbridge.errors import InvalidRequest
from riverbridge.model.view import BUILT_IN, NAME_MAX, View
from riverbridge.store import views as store


def views(request: Request, ground: Ground) -> Response:
    """All of them: what each asks for and whose it is; name one anew, delete it."""
    found = ground.read(request, store.views(schema=ground.database(request).schema))
    return ground.render(
        request,
        "views.html",
        views=found,
        built_in=BUILT_IN,
        address=lambda view: Wanted.by(view).address(),
        sorts=SORTS,
        most=store.MOST,
        name_max=NAME_MAX,
    )


def save(request: Request, ground: Ground) -> Response:
    """Keep what the list was asked for, as it was written; where in it is not kept."""
    form = form_of(request)
    wanted = Wanted.of(form.get)._replace(after="")
    wanted.search(ground)  # what cannot be looked at is not saved
    if not wanted.text and not wanted.state:
        raise InvalidRequest("search for something first, or choose a state: this is every job")
    saved = ground.change(
        request,
        store.view_save(
            View(form.get("name"), wanted.text, wanted.state, wanted.sort),
            owner=visitor_of(request).name,
            schema=ground.database(request).schema,
        ),
    )
    return done(request, wanted.address(), f"view {saved.name} is saved")


def rename(request: Request, ground: Ground) -> Response:
    """Give one another name."""
    form = form_of(request)
    exchange = store.view_rename(
        _id(form), form.get("name"), schema=ground.database(request).schema
    )
    before = _there(ground.change(request, exchange))
    return done(request, "/views", f"view {before.name} is {form.get('name').strip()} now")


def delete(request: Request, ground: Ground) -> Response:
    """Forget one, for everybody."""
    exchange = store.view_delete(_id(form_of(request)), schema=ground.database(request).schema)
    before = _there(ground.change(request, exchange))
    return done(request, "/views", f"view {before.name} is deleted")


def _id(form: Form) -> int:
    text = form.get("id")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused(400, "id: is no number")
    return int(text)


def _there(before: store.SavedView | None) -> store.SavedView:
    if before is None:
        raise Refused(404, "there is no such view any more")
    return before


PAGES = (
    Page("/views", views, Role.VIEWER),
    Page("/views", save, Role.OPERATOR, ("POST",), changes=True),
    Page("/views/rename", rename, Role.OPERATOR, ("POST",), changes=True),
    Page("/views/delete", delete, Role.OPERATOR, ("POST",), changes=True),
)
