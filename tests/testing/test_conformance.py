"""The conformance suite finds what is wrong with a sink: each defect by the test that is for it."""

from __future__ import annotations

import inspect
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import pytest

from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Unreachable,
)
from riverbridge.sinks.base import Message, Sink
from riverbridge.testing import conformance
from riverbridge.testing import trial as trials
from riverbridge.testing.conformance import SinkConformance
from riverbridge.testing.harness import Capability, Received, SinkHarness
from riverbridge.testing.trial import Trial

LIMIT = 20_000
SECRET = "s3cret-of-the-suite"


class Server:
    """A list, which can be gone or mute."""

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.gone = False
        self.mute = False


class GoodSink:
    """One that does as it should; each subclass has a defect."""

    def __init__(self, server: Server, password: str = SECRET, there: bool = True) -> None:
        self.server, self.password, self.there = server, password, there
        self.closed = threading.Event()

    def deliver(self, messages: Sequence[Message], deadline: float) -> list[Outcome]:
        return [self.send(message, deadline) for message in messages]

    def close(self) -> None:
        self.closed.set()

    def send(self, message: Message, deadline: float) -> Outcome:
        if self.closed.is_set() or self.server.gone or time.monotonic() > deadline:
            return Unreachable("gone, closed or too late")
        if self.server.mute:
            self.closed.wait(deadline - time.monotonic())
            return Retry("no answer", ambiguous=True)
        if self.password != SECRET or not self.there:
            return Misconfigured("no such user or place")
        if len(message.body or b"") > LIMIT:
            return Permanent("too large")
        self.take(message)
        return Delivered()

    def take(self, message: Message) -> None:
        self.server.got.append(Received(message.id, message.body, message.key, message.headers))


class Reversed(GoodSink):
    def deliver(self, messages: Sequence[Message], deadline: float) -> list[Outcome]:
        return super().deliver(messages[::-1], deadline)[::-1]


class Forgets(GoodSink):
    """Says what it did not do."""

    def take(self, message: Message) -> None:
        if message.key != "b":
            super().take(message)


class FreshIds(GoodSink):
    def take(self, message: Message) -> None:
        self.server.got.append(Received(uuid.uuid4().hex, b"", None, ()))


class Strips(GoodSink):
    def take(self, message: Message) -> None:
        body = None if message.body is None else message.body.strip()
        self.server.got.append(Received(message.id, body, message.key, message.headers))


class TextOnly(GoodSink):
    def take(self, message: Message) -> None:
        body = (message.body or b"").decode(errors="replace").encode()
        headers = tuple(dict(message.headers).items())
        self.server.got.append(Received(message.id, body, message.key, headers))


class Bare(GoodSink):
    def take(self, message: Message) -> None:
        self.server.got.append(Received(message.id, message.body, None, ()))


class OneForAll(GoodSink):
    def deliver(self, messages: Sequence[Message], deadline: float) -> list[Outcome]:
        outcomes = super().deliver(messages, deadline)
        bad = next((o for o in outcomes if isinstance(o, Permanent)), None)
        return outcomes if bad is None else [bad] * len(outcomes)


class Shared(GoodSink):
    """Threads that share what should be each call's own."""

    def deliver(self, messages: Sequence[Message], deadline: float) -> list[Outcome]:
        self.outcomes: list[Outcome] = []
        for message in messages:
            self.outcomes.append(self.send(message, deadline))
            time.sleep(0.001)
        return self.outcomes


class Blames(GoodSink):
    """Silence is no reason to give up a message, nor to say that it was not taken."""

    def send(self, message: Message, deadline: float) -> Outcome:
        outcome = super().send(message, deadline)
        return Retry(outcome.error) if isinstance(outcome, Unreachable | Retry) else outcome


class Patient(GoodSink):
    def deliver(self, messages: Sequence[Message], deadline: float) -> list[Outcome]:
        return super().deliver(messages, deadline + (1.2 if self.server.mute else 0.0))


class Stays(GoodSink):
    """Leaves a thread behind."""

    def close(self) -> None:
        super().close()
        threading.Thread(target=lambda: time.sleep(3.0)).start()


class NeverCloses(GoodSink):
    def close(self) -> None:
        return


class Boasts(GoodSink):
    def send(self, message: Message, deadline: float) -> Outcome:
        super().send(message, deadline)
        return Delivered()


class Tells(GoodSink):
    def __repr__(self) -> str:
        return f"Tells({self.password})"


class Harness(SinkHarness):
    secrets = (SECRET, "wrong")

    def __init__(self, make: type[GoodSink]) -> None:
        self.make, self.server = make, Server()

    def open(self, delivery_timeout: float) -> Sink:
        return self.make(self.server)

    def received(self) -> Sequence[Received]:
        return list(self.server.got)

    def open_with_wrong_secret(self, delivery_timeout: float) -> Sink:
        return self.make(self.server, "wrong")

    def misdirected(self, delivery_timeout: float) -> tuple[Sink, str]:
        return self.make(self.server, there=False), ""

    def too_large(self) -> bytes:
        return b"x" * (LIMIT + 1)

    def cut(self) -> None:
        self.server.gone = True

    def hang(self) -> None:
        self.server.mute = True

    def mend(self) -> None:
        self.server.gone = self.server.mute = False


DEFECTS: Mapping[str, tuple[type[GoodSink], ...]] = {
    "test_messages_of_a_key_arrive_in_their_order": (Reversed, Forgets),
    "test_everything_of_a_message_arrives": (Bare,),
    "test_headers_may_be_repeated_or_empty": (TextOnly,),
    "test_text_arrives_byte_for_byte": (Strips,),
    "test_other_bytes_arrive_as_they_are_or_are_refused": (TextOnly,),
    "test_a_tombstone_arrives_or_is_refused": (TextOnly,),
    "test_what_is_too_large_is_refused_alone_and_for_good": (OneForAll, Boasts),
    "test_what_is_sent_again_has_the_same_id": (FreshIds,),
    "test_threads_do_not_mix_their_outcomes": (Shared,),
    "test_an_empty_call_and_one_that_is_too_late": (Boasts,),
    "test_an_outage_is_unreachable_and_delivery_goes_on_after_it": (Blames, Boasts),
    "test_a_mute_server_is_ambiguous_and_the_deadline_is_kept": (Blames, Patient),
    "test_wrong_credentials_are_misconfigured": (Boasts,),
    "test_a_missing_destination_is_misconfigured": (Boasts,),
    "test_closing_in_the_middle_claims_nothing_that_was_not_received": (Forgets,),
    "test_closing_ends_the_calls_that_wait_for_a_mute_server": (Boasts,),
    "test_after_close_nothing_is_sent_and_nothing_is_left": (Stays, NeverCloses),
}
TESTS = [name for name in vars(SinkConformance) if name.startswith("test_")]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server here needs the time that real ones do."""
    monkeypatch.setattr(conformance, "DEADLINE", 0.1)


def run(name: str, make: type[GoodSink]) -> None:
    trial = Trial(Harness(make))
    given = {"self": SinkConformance(), "trial": trial, "harness": trial.harness}
    test: Callable[..., None] = getattr(SinkConformance, name)
    wanted = inspect.signature(test).parameters
    if "sink" in wanted:
        given["sink"] = trial.open()
    try:
        test(**{name: given[name] for name in wanted})
    finally:
        trial.end("")


@pytest.mark.parametrize("name", TESTS)
def test_a_good_sink_passes(name: str) -> None:
    run(name, GoodSink)


@pytest.mark.parametrize(("name", "make"), [(n, make) for n in DEFECTS for make in DEFECTS[n]])
def test_a_defect_is_found(
    name: str, make: type[GoodSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "PATIENCE", 0.3)
    with pytest.raises(AssertionError):
        run(name, make)


def test_every_test_finds_one() -> None:
    assert {*TESTS} == {*DEFECTS, "test_what_it_lacks_is_known_and_has_a_reason"}


@pytest.mark.parametrize(("make", "log"), [(Tells, ""), (GoodSink, f"signed in with {SECRET}")])
def test_a_secret_that_is_shown_is_found(make: type[GoodSink], log: str) -> None:
    trial = Trial(Harness(make))
    trial.open()
    with pytest.raises(AssertionError, match="secret"):
        trial.end(log)


def test_what_is_lacking_is_skipped_with_its_reason_and_nothing_else() -> None:
    class Lacking(Harness):
        lacks: ClassVar[Mapping[Capability, str]] = {"order": "a heap has none"}

    trial = Trial(Lacking(GoodSink))
    suite = SinkConformance()
    with pytest.raises(pytest.skip.Exception, match="no order: a heap has none"):
        suite.test_messages_of_a_key_arrive_in_their_order(trial)
    suite.test_what_it_lacks_is_known_and_has_a_reason(trial.harness)
    trial.harness.lacks = {"odour": "a heap has none"}  # type: ignore[misc,dict-item]
    with pytest.raises(AssertionError):
        suite.test_what_it_lacks_is_known_and_has_a_reason(trial.harness)


def test_a_harness_says_what_is_not_written_yet() -> None:
    class Unwritten(SinkHarness):
        def open(self, delivery_timeout: float) -> Sink:
            return GoodSink(Server())

        def received(self) -> Sequence[Received]:
            return ()

    trial = Trial(Unwritten())
    with pytest.raises(NotImplementedError, match=r"too_large.*'size limit'"):
        SinkConformance().test_what_is_too_large_is_refused_alone_and_for_good(trial)
    with pytest.raises(NotImplementedError, match=r"cut.*'outage'"):
        trial.harness.cut()
