"""A new job made of one that is there: as it was, or edited."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.flash import done
from riverbridge.console.frame import Form, Page, Refused, Role, form_of
from riverbridge.console.ground import Ground
from riverbridge.console.redaction import MASK
from riverbridge.console.templating import pretty
from riverbridge.errors import InvalidJob
from riverbridge.model.args import RawArgs
from riverbridge.model.job import Job
from riverbridge.model.json_text import encode
from riverbridge.model.options import InsertOpts, NewJob, new_job
from riverbridge.store.administration import job_get
from riverbridge.store.audit import Record
from riverbridge.store.exchange import Exchange
from riverbridge.store.insert import insert_many, to_announce

DROPPED = ("river:log", "output", "cancel_attempted_at")
"""Keys of metadata that are of the job that was."""


def clone(request: Request, ground: Ground) -> Response:
    """The form."""
    found = _job(request, ground)
    shown = ground.redaction.args(found.kind, found.args)
    fields = {
        "kind": found.kind,
        "queue": found.queue,
        "priority": str(found.priority),
        "max_attempts": str(found.max_attempts),
        "tags": ", ".join(map(str, found.tags)),
        "args": pretty(shown),
    }
    return ground.render(request, "clone.html", job=found, fields=fields, problem="")


def cloned(request: Request, ground: Ground) -> Response:
    """Insert it, or show the form again with what is wrong."""
    found = _job(request, ground)
    form = form_of(request)
    try:
        new = _new(found, form, ground)
    except InvalidJob as error:
        return ground.render(
            request, "clone.html", status=400, job=found, fields=form.as_dict(), problem=str(error)
        )
    schema = ground.database(request).schema
    id = ground.change(request, _inserted(new, found.id, schema))
    return done(request, f"/jobs/{id}", f"inserted as a copy of job {found.id}")


def _job(request: Request, ground: Ground) -> Job:
    id = request.path_params["id"]
    return ground.read(request, job_get(id, schema=ground.database(request).schema))


def _new(found: Job, form: Form, ground: Ground) -> NewJob:
    text = form.get("args")
    kind = form.get("kind")
    if ground.redaction.paths(found.kind):
        text = _unmasked(found, text, kind)
    opts = InsertOpts(
        queue=form.get("queue"),
        priority=_number(form, "priority"),
        max_attempts=_number(form, "max_attempts"),
        tags=[tag.strip() for tag in form.get("tags").split(",") if tag.strip()],
        metadata={
            key: value
            for key, value in (found.metadata if isinstance(found.metadata, dict) else {}).items()
            if key not in DROPPED and not key.startswith("riverbridge:")
        },
    )
    return new_job(RawArgs(kind, text), opts)


def _unmasked(found: Job, text: str, kind: str) -> str:
    """What was not shown is put back where the mask still stands. Of another kind it could come to
    be shown, so it is not put into one."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text  # what is wrong with it is said of it as of any other
    restored = _restored(value, found.args)
    if restored != value and kind != found.kind:
        raise InvalidJob("kind: some of its args are not shown here, so it must keep its kind")
    return encode(restored)


def _restored(value: Any, original: Any) -> Any:
    if value == MASK:
        return original
    if isinstance(value, dict) and isinstance(original, dict):
        return {key: _restored(item, original.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(original, list) and len(value) == len(original):
        return [_restored(item, other) for item, other in zip(value, original, strict=True)]
    return value


def _number(form: Form, name: str) -> int:
    text = form.get(name).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise Refused(400, f"{name}: is no number")
    return int(text)


def _inserted(new: NewJob, origin: int, schema: str | None) -> Exchange[tuple[int, list[Record]]]:
    (result,) = yield from insert_many([new], queues=to_announce([new]), schema=schema)
    after = {"kind": new.kind, "queue": new.queue, "copy_of": origin}
    return result.job.id, [Record("insert", f"job {result.job.id}", None, after)]


PAGES = (
    Page("/jobs/{id:int}/clone", clone, Role.OPERATOR),
    Page("/jobs/{id:int}/clone", cloned, Role.OPERATOR, ("POST",), changes=True),
)
