"""What cannot work in a route, and between a route and its sinks."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from typing import get_args

from riverbridge.settings import sharing
from riverbridge.settings.checked import Checked, found_in, judged, sink_path
from riverbridge.settings.models import Route
from riverbridge.settings.reading import Problem
from riverbridge.settings.shape import Path, variable
from riverbridge.settings.sinks import SinkSettings
from riverbridge.settings.values import spell

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}|]*)(?:\|[^{}]*)?\}")
# What a dead letter's destination may not depend on: a job may be discarded for want of just that.
_OF_THE_JOB = re.compile(r"\{\s*(args|metadata)\b")


def _sinks_of_routes(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        path = ("routes", name, "sinks")
        if not checked.sinks or not route.sinks:
            yield Problem(
                path, "no sink is configured; define one (RIVERBRIDGE_SINKS__<NAME>__TYPE)"
            )
            continue
        for sink in route.sinks:
            yield from _known(checked, path, sink)


def _known(checked: Checked, path: Path, sink: str) -> Iterator[Problem]:
    if sink not in checked.sinks:
        close = difflib.get_close_matches(sink, checked.sinks, 1, 0.6)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(checked.sinks)}"
        yield Problem(path, f"there is no sink {sink}; {hint}")


def _shared_queues(checked: Checked) -> Iterator[Problem]:
    return sharing.problems(checked.settings, checked.given)


def _keys_and_order(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        yield from _ordered(("routes", name), route)
    # The same fault with several sinks is one line: it names the first of them.
    found: dict[Path, Problem] = {}
    for name, route, sink_name, sink in checked.pairs():
        path = ("routes", name)
        for problem in (
            *_key_and_order(path, route, sink_name, sink),
            *_partition_of_key(path, route, sink_name, sink),
        ):
            found.setdefault(problem.path, problem)
    yield from found.values()


def _ordered(path: Path, route: Route) -> Iterator[Problem]:
    ordered = (*path, "ordered")
    if not route.ordered:
        if route.hold_back_for is not None:
            yield Problem(
                (*path, "hold_back_for"),
                "has no effect without ORDERED=true; unset one or set the other",
                (ordered,),
            )
        return
    if route.key is None:
        yield Problem(
            (*path, "key"),
            "not set, but ORDERED=true: order is that of the jobs of a key; give a template, as in "
            "{args.customer_id}",
            (ordered,),
        )
    if len(route.queues) > 1:
        yield Problem(
            (*path, "queues"),
            f"are {len(route.queues)}, but an ordered route (ORDERED=true) has one queue, as there "
            "is no order between queues; give each a route of its own",
            (ordered,),
        )
    if route.lanes is not None and route.lanes > 2:
        yield Problem(
            (*path, "lanes"),
            f"{route.lanes} are more than the two that can serve an ordered route (ORDERED=true); "
            "set LANES=2 or unset it",
            (ordered,),
        )


def _key_and_order(path: Path, route: Route, name: str, sink: SinkSettings) -> Iterator[Problem]:
    key = route.at(name, sink)[1]
    if key is None and (why := sink.wants_key):
        yield Problem(
            (*path, "key"),
            f"not set, but sink {name} {why}; give a template, as in {{args.customer_id}}",
        )
    if route.ordered is None and (why := sink.wants_order(key is not None)):
        yield Problem(
            (*path, "ordered"),
            f"not set, but sink {name} {why}; state whether the jobs of a key keep their order "
            "(true or false)",
        )


def _partition_of_key(path: Path, route: Route, name: str, sink: SinkSettings) -> Iterator[Problem]:
    """Order is that within a partition: which one it is must follow from the key."""
    if not route.ordered or route.key is None or sink.place is None:
        return
    if others := sorted(_fields(sink.place) - _fields(route.key)):
        yield Problem(
            (*path, "ordered"),
            f"true, but {variable(sink_path(name, 'partition'))} is made of {{{others[0]}}}, which "
            f"is not in the key {route.key}: jobs of one key could go to several partitions; use "
            "fields of the key, a fixed number, or leave the partition to the key",
            ((*path, "key"), sink_path(name, "partition")),
        )


def _fields(template: str) -> set[str]:
    """The fields of the job that a template is made of."""
    return {found[1] for found in _FIELD.finditer(template) if found[1]}


def _ledgers(checked: Checked) -> Iterator[Problem]:
    """What a route cannot do beside asking its receiver what arrived."""
    for name, route, sink, settings in checked.pairs():
        if not settings.ledger:
            continue
        path, flag = ("routes", name), ("sinks", sink, "transactions")
        why = f"does not go together with {variable(flag)}=true: "
        if len(route.sinks) > 1:
            yield Problem(
                (*path, "sinks"),
                f"{', '.join(route.sinks)}: {why}the answer of one sink does not tell what reached "
                "the others; give each a queue of its own",
                (flag,),
            )
        if route.ordered:
            yield Problem(
                (*path, "ordered"),
                f"{why}jobs that are in doubt would be overtaken; set one of them to false",
                (flag,),
            )
        if route.when is not None:
            yield Problem(
                (*path, "when"),
                f"{why}a batch that conditions divide has one answer; give these jobs a queue of "
                "their own",
                (flag,),
            )
        if route.on_success == "delete":
            yield Problem(
                (*path, "on_success"),
                f"delete {why}after a crash the row is what is settled; set ON_SUCCESS=complete",
                (flag,),
            )
        if route.claim == "lock":
            yield Problem(
                (*path, "claim"),
                f"lock {why}a crash gives locked rows to others before anybody has asked; set "
                "CLAIM=lease or leave it out",
                (flag,),
            )


def _overrides(checked: Checked) -> Iterator[Problem]:
    """What a route says of one of its sinks has to be something that the sink has."""
    for name, route in checked.settings.routes.items():
        for sink_name, own in route.overrides.items():
            path: Path = ("routes", name, "overrides", sink_name)
            sink = checked.settings.sinks.get(sink_name)
            if sink_name not in route.sinks or sink is None:
                if sink_name not in checked.sinks or sink is not None:
                    text = f"the route has no sink {sink_name}; its sinks: {', '.join(route.sinks)}"
                    yield Problem(path, text, (("routes", name, "sinks"),))
                continue
            if route.ordered and own.key is not None:
                yield Problem(
                    (*path, "key"),
                    "cannot be with ORDERED=true: the order is that of the route's own key",
                    (("routes", name, "ordered"),),
                )
            known_envelopes = get_args(type(sink).model_fields["envelope"].annotation)
            if own.envelope is not None and own.envelope not in known_envelopes:
                text = f"{own.envelope} is not for a sink of type {sink.type}, which has "
                yield Problem((*path, "envelope"), text + ", ".join(known_envelopes))
                continue
            for field in ("topic", "url", "detail_type"):
                if getattr(own, field) is not None and sink.destination[0] != field:
                    text = f"has no meaning for the sink {sink_name}, which is of type {sink.type}"
                    yield Problem((*path, field), text)
            known = set(found_in(sink))
            for at, text in found_in(own.over(sink)):
                if (at, text) in known:
                    continue
                if at.startswith("large.") and own.large.given:
                    yield Problem((*path, *at.split(".")), " ".join(text.split()))
                    continue
                if "." in at:  # a group of the sink's, which the route's envelope does not suit
                    at, text = "envelope", f"{variable(sink_path(sink_name, at))}: {text}"
                yield Problem((*path, at) if at else path, " ".join(text.split()))


def _envelopes(checked: Checked) -> Iterator[Problem]:
    """What goes with an envelope: the sink's own, or what a route has in its place."""
    used: dict[str, set[str]] = {}
    for name, route in checked.settings.routes.items():
        for sink_name, own in route.overrides.items():
            sink = checked.settings.sinks.get(sink_name)
            if sink is None or own.envelope is None:
                continue
            used.setdefault(sink_name, set()).add(own.envelope)
            if own.envelope == "template" != sink.envelope and sink.body is None:
                body = sink_path(sink_name, "body")
                yield Problem(
                    ("routes", name, "overrides", sink_name, "envelope"),
                    f"template is made of the sink's body, and {variable(body)} is not set; give "
                    "it JSON with fields of the job",
                    (body,),
                )
    for name, sink in checked.settings.sinks.items():
        envelope, body = sink_path(name, "envelope"), sink_path(name, "body")
        envelopes = {sink.envelope, *used.get(name, ())}
        if sink.envelope == "template" and sink.body is None:
            text = "not set, and ENVELOPE=template needs it; give JSON with fields of the job"
            yield Problem(body, text, (envelope,))
        if "template" not in envelopes and sink.body is not None:
            text = f"has no effect with ENVELOPE={sink.envelope}; set template"
            yield Problem(body, text, (envelope,))
        if sink.content_type is not None and envelopes == {"cloudevents-structured"}:
            text = "a structured CloudEvent has a content type of its own; unset it"
            yield Problem(sink_path(name, "content_type"), text, (envelope,))


def _conditions(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        path = ("routes", name, "when")
        if route.when is None:
            continue
        if route.ordered:
            yield Problem(
                path,
                "cannot be with ORDERED=true: the order of a key is that of its queue; give these "
                "jobs a queue of their own",
                (("routes", name, "ordered"),),
            )
        yield from judged(checked.check_condition, path, route.when)


def _retries(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        retry, delay, longest = (
            ("routes", name, key) for key in ("retry", "retry_delay", "retry_max_delay")
        )
        if route.retry == "river" and delay in checked.given:
            yield Problem(
                delay, "has no effect with RETRY=river; set RETRY=fixed or exponential", (retry,)
            )
        if route.retry != "exponential" and longest in checked.given:
            yield Problem(
                longest,
                f"has no effect with RETRY={route.retry}; set RETRY=exponential",
                (retry,),
            )
        if route.retry == "exponential" and route.retry_max_delay < route.retry_delay:
            yield Problem(
                longest,
                f"{spell(route.retry_max_delay)} is shorter than RETRY_DELAY of "
                f"{spell(route.retry_delay)}",
                (retry, delay),
            )


def _fan_out(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        patience, sinks = ("routes", name, "patience"), ("routes", name, "sinks")
        if patience in checked.given and len(route.sinks) == 1:
            yield Problem(patience, "has no effect, as the route has one sink; unset it", (sinks,))


def _dead_letters(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        path, sinks = ("routes", name, "dead_letters"), ("routes", name, "sinks")
        if route.dead_letters is None:
            continue
        yield from _known(checked, path, route.dead_letters)
        if route.dead_letters in route.sinks:
            yield Problem(
                path,
                f"{route.dead_letters} is one of the route's own sinks, which just failed then; "
                "name another",
                (sinks,),
            )
        elif (sink := checked.settings.sinks.get(route.dead_letters)) is not None:
            if sink.ledger:
                flag = ("sinks", route.dead_letters, "transactions")
                yield Problem(
                    path,
                    f"sink {route.dead_letters} sends in transactions, which are for whole batches "
                    f"({variable(flag)}=true); name another",
                    (flag,),
                )
            if (why := sink.wants_bodies) is not None:
                yield Problem(
                    path,
                    f"sink {route.dead_letters} {why}, and a job may be discarded for want of just "
                    "that; name another",
                    (("sinks", route.dead_letters),),
                )
            if _OF_THE_JOB.search(sink.destination[1]):
                yield Problem(
                    path,
                    f"the destination of sink {route.dead_letters} is made of a job's args or "
                    "metadata, which a job that is discarded may lack; use a fixed one, {kind} or "
                    "{queue}",
                    (sink_path(route.dead_letters, sink.destination[0]),),
                )
            if route.key is None and (why := sink.wants_key):
                yield Problem(
                    path,
                    f"sink {route.dead_letters} {why}, and this route has no key; give the route "
                    "one, or name another sink",
                    (("routes", name, "key"),),
                )


ROUTE_RULES: tuple[Callable[[Checked], Iterator[Problem]], ...] = (
    _sinks_of_routes,
    _shared_queues,
    _overrides,
    _envelopes,
    _conditions,
    _keys_and_order,
    _ledgers,
    _retries,
    _fan_out,
    _dead_letters,
)
