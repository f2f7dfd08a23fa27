"""Operations of our own API, each declared once: what it asks and tells is two msgspec types.

The same declaration checks what a request gives, encodes the answer and describes both in the
OpenAPI document, so that none of the three can differ from the others.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.api.answers import answer
from riverbridge.console.frame import Page, Refused, Role
from riverbridge.console.ground import Ground

Handler = Callable[[Request, Ground, Any], Any]

REF = "#/components/schemas/{name}"
PROBLEM = {"description": "Refused; `message` says why.", "content": {
    "application/json": {"schema": {"$ref": REF.format(name="Problem")}}}}  # fmt: skip


class Problem(msgspec.Struct):
    """Why a request was refused."""

    message: str


class Operation(NamedTuple):
    """A question. asks: a struct with a field for each parameter, those of the path too. tells: the
    type of the answer. summary: a sentence for the document."""

    path: str
    summary: str
    asks: type[msgspec.Struct]
    tells: Any
    handle: Handler
    role: Role = Role.VIEWER

    def page(self) -> Page:
        """The operation as a page of the console."""

        def endpoint(request: Request, ground: Ground) -> Response:
            return answer(self.handle(request, ground, asked(request, self.asks)))

        return Page(self.path, endpoint, self.role)


def asked(request: Request, asks: type[msgspec.Struct]) -> Any:
    """What the request's path and query give, checked. Raises Refused."""
    fields = {field.name: field for field in msgspec.structs.fields(asks)}
    given: dict[str, Any] = {}
    for name in request.query_params:
        if name not in fields or name in request.path_params:
            there = ", ".join(set(fields) - set(request.path_params)) or "none"
            raise Refused(400, f"there is no parameter {name[:40]!r}; there are: {there}")
        values = request.query_params.getlist(name)
        if _is_list(fields[name].type):
            given[name] = values
        elif len(values) == 1:
            given[name] = values[0]
        else:
            raise Refused(400, f"{name} is given {len(values)} times; once is enough")
    if any("\x00" in text for value in given.values() for text in value):
        raise Refused(400, "a parameter holds a zero byte, which no text in Postgres has")
    try:
        return msgspec.convert(given | request.path_params, asks, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(400, str(error)) from None


def _is_list(type_: Any) -> bool:
    if typing.get_origin(type_) is typing.Annotated:
        type_ = typing.get_args(type_)[0]
    return typing.get_origin(type_) is list


def document(operations: Sequence[Operation], *, title: str, version: str, base: str) -> Any:
    """The OpenAPI document of these operations. base: the path they are served below."""
    types = [Problem, *(op.asks for op in operations), *(op.tells for op in operations)]
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    count = len(operations)
    asks = [components.pop(op.asks.__name__) for op in operations]
    tells = schemas[count + 1 :]
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": base or "/"}],
        "paths": {
            op.path: {"get": _described(op, asks[n], tells[n])} for n, op in enumerate(operations)
        },
        "components": {"schemas": components},
    }


def _described(operation: Operation, asks: dict[str, Any], tells: Any) -> dict[str, Any]:
    required = set(asks.get("required", ()))
    parameters = [
        {
            "name": name,
            "in": "path" if f"{{{name}}}" in operation.path else "query",
            "required": name in required,
            "schema": schema,
        }
        for name, schema in asks.get("properties", {}).items()
    ]
    return {
        "operationId": operation.asks.__name__,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "The answer.",
                "content": {"application/json": {"schema": tells}},
            },
            "4XX": PROBLEM,
            "5XX": PROBLEM,
        },
    }
