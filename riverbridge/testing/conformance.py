"""What every sink has to do, as tests: for ours, and for those that other packages bring.

    class TestPigeons(SinkConformance):
        @pytest.fixture
        def harness(self) -> Iterator[SinkHarness]:
            ...

A test that needs what `SinkHarness.lacks` names is skipped, with the reason given there.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from operator import itemgetter
from typing import get_args

import pytest
from msgspec.structs import replace

from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.sinks.base import Sink
from riverbridge.testing.harness import Capability, SinkHarness
from riverbridge.testing.proxy import THREADS, Proxy
from riverbridge.testing.trial import (
    SHORT,
    STOP,
    TIMEOUT,
    Trial,
    delivered,
    ids,
    kinds,
    soon,
)

DEADLINE = 1.0
"""Seconds of a call that gets no answer."""

TEXTS = (
    b"{}",
    b'{"a": 1,   "a": 1.0e+2, "b": [null, true, ""]}',
    '{"e":"é","\u65e5\u672c":"\u05d0\u0627","\U0001f6a2":"\U0001f468\u200d\U0001f469"}'.encode(),
    '{"line":"\u2028\u2029\x7f\x85\ufeff\ufffd"}'.encode(),
    rb'{"escaped":"\u0000\n\ud83d\udea2\\"}',
    b'{\n\t"pretty": 1\r\n}\n',
    b"no JSON: <a>&amp;</a> ' \" \\ % {x} ${x}",
    b'"' + "ü".encode() * 5000 + b'"',
)
"""Bodies that every sink carries."""

BYTES = (b"", b"a\0b", "\ufffe\uffff".encode(), b"\xff\xfe\x00", bytes(range(256)))
"""Bodies that a sink carries, or refuses for good."""


class SinkConformance:
    """Subclass it with a fixture `harness`, as `riverbridge.testing.harness` wants it."""

    @pytest.fixture
    def harness(self) -> Iterator[SinkHarness]:
        """To be overridden: makes a harness, and cleans up after it."""
        pytest.fail(f"{type(self).__name__} needs a fixture `harness`", pytrace=False)

    @pytest.fixture
    def trial(self, harness: SinkHarness, caplog: pytest.LogCaptureFixture) -> Iterator[Trial]:
        """Sinks to `harness`, none of which may tell a secret, whatever the test does."""
        caplog.set_level(logging.DEBUG)
        trial = Trial(harness)
        yield trial
        trial.end(caplog.text)

    @pytest.fixture(params=["fresh", "in service"])
    def sink(self, trial: Trial, request: pytest.FixtureRequest) -> Sink:
        """A sink that gives up soon: one that never sent anything, and one that has just done so.

        What a missing answer means may depend on it.
        """
        sink = trial.open(SHORT)
        if request.param == "in service":
            trial.deliver_all(sink, trial.messages(1))
        return sink

    def test_what_it_lacks_is_known_and_has_a_reason(self, harness: SinkHarness) -> None:
        for capability, why in harness.lacks.items():
            assert capability in get_args(Capability)
            assert len(why) > 10, f"lacks[{capability!r}]: say why"

    def test_messages_of_a_key_arrive_in_their_order(self, trial: Trial) -> None:
        needs(trial, "order")
        pairs = zip(trial.messages(20, key="a"), trial.messages(20, key="b"), strict=True)
        sent = [message for pair in pairs for message in pair]
        trial.deliver_all(trial.open(), sent)
        places = {one.id: place for place, one in enumerate(trial.came(ids(sent)))}
        for key in "ab":
            of_key = [places[message.id] for message in sent if message.key == key]
            assert of_key == sorted(of_key), f"the messages of key {key} came out of order"

    def test_everything_of_a_message_arrives(self, trial: Trial) -> None:
        sent = []
        for message in trial.messages(2, key="kunde-1"):
            more = (("x-text", "ü € \U0001f6a2"), *((f"h-{n}", f"v{n}") for n in range(12)))
            sent.append(replace(message, headers=message.headers + more))
        trial.deliver_all(trial.open(), sent)
        got = {one.id: one for one in trial.came(ids(sent))}
        for message in sent:
            one = got[message.id]
            assert one.body == message.body
            assert dict(one.headers) == dict(message.headers)
            if "keys" not in trial.harness.lacks:
                assert one.key == message.key

    def test_headers_may_be_repeated_or_empty(self, trial: Trial) -> None:
        needs(trial, "repeated headers")
        [message] = trial.messages(1)
        more = (("twice", "1"), ("empty", ""), ("twice", "2"), ("ü", "日本"))
        message = replace(message, headers=message.headers + more)
        trial.deliver_all(trial.open(), [message])
        [one] = trial.came({message.id})
        # The order of different names means nothing.
        name = itemgetter(0)
        assert sorted(one.headers, key=name) == sorted(message.headers, key=name)

    def test_text_arrives_byte_for_byte(self, trial: Trial) -> None:
        sent = [replace(m, body=b) for m, b in zip(trial.messages(len(TEXTS)), TEXTS, strict=True)]
        trial.deliver_all(trial.open(), sent)
        got = {one.id: one.body for one in trial.came(ids(sent))}
        assert [got[message.id] for message in sent] == list(TEXTS)

    def test_other_bytes_arrive_as_they_are_or_are_refused(self, trial: Trial) -> None:
        sink, good = trial.open(), trial.messages(1)
        sent = [replace(m, body=b) for m, b in zip(trial.messages(len(BYTES)), BYTES, strict=True)]
        outcomes = [trial.deliver(sink, [message])[0] for message in sent]
        refused = {m.id for m, o in zip(sent, outcomes, strict=True) if isinstance(o, Permanent)}
        if "any bytes" not in trial.harness.lacks:
            assert refused == set(), outcomes
        delivered = {m.id for m, o in zip(sent, outcomes, strict=True) if isinstance(o, Delivered)}
        assert refused | delivered == ids(sent), outcomes
        trial.deliver_all(sink, good)
        got = {one.id: one.body for one in trial.came(delivered | ids(good))}
        assert not refused & got.keys(), "what was refused is there"
        assert all(got[m.id] == m.body for m in sent if m.id in delivered)

    def test_a_tombstone_arrives_or_is_refused(self, trial: Trial) -> None:
        sink, [good, tombstone] = trial.open(), trial.messages(2)
        [outcome, _] = trial.deliver(sink, [replace(tombstone, body=None), good])
        if "tombstones" in trial.harness.lacks:
            assert isinstance(outcome, Permanent), "it can be told from nothing: refuse it"
            assert tombstone.id not in {one.id for one in trial.came({good.id})}
        else:
            assert isinstance(outcome, Delivered)
            got = {one.id: one.body for one in trial.came({good.id, tombstone.id})}
            assert got[tombstone.id] is None

    def test_what_is_too_large_is_refused_alone_and_for_good(self, trial: Trial) -> None:
        needs(trial, "size limit")
        sink = trial.open()
        sent = [trial.messages(1, key=f"k{n}")[0] for n in range(20)]
        large = {sent[place].id for place in (0, 7, 19)}
        body = trial.harness.too_large()
        sent = [replace(m, body=body) if m.id in large else m for m in sent]
        for batch in (sent, sent[:1]):
            for message, outcome in zip(batch, trial.deliver(sink, batch), strict=True):
                if message.id not in large:
                    assert isinstance(outcome, Delivered), outcome
                    continue
                assert isinstance(outcome, Permanent), outcome
                assert outcome.error
                assert len(outcome.error) < 2000, "an error is not the place for the body"
        got = trial.came({message.id for message in sent} - large)
        assert not large & {one.id for one in got}, "what was refused is there"

    def test_what_is_sent_again_has_the_same_id(self, trial: Trial) -> None:
        [again, last] = trial.messages(2)
        first = trial.open()
        trial.deliver_all(first, [again])
        trial.deliver_all(first, [again])
        trial.close(first)
        second = trial.open()  # another process, after a restart
        trial.deliver_all(second, [again])
        trial.deliver_all(second, [last])
        times = 1 if trial.harness.deduplicates else 3
        got: Counter[str] = Counter()

        def there() -> bool:
            got.clear()
            got.update(one.id for one in trial.harness.received())
            return got == {again.id: times, last.id: 1}

        soon(there, lambda: f"sent three times as {again.id}, then {last.id}; received: {got}")

    def test_threads_do_not_mix_their_outcomes(self, trial: Trial) -> None:
        sink, limited = trial.open(), "size limit" not in trial.harness.lacks
        sent = [trial.messages(5, key=f"k{n}") for n in range(12)]
        if limited:  # each call has one that is refused, in another place
            body = trial.harness.too_large()
            for n, batch in enumerate(sent):
                batch[n % 5] = replace(batch[n % 5], body=body)
        with ThreadPoolExecutor(4) as pool:
            given = list(pool.map(lambda batch: trial.deliver(sink, batch), sent))
        wanted: set[str] = set()
        for n, batch in enumerate(sent):
            for place, (message, outcome) in enumerate(zip(batch, given[n], strict=True)):
                refused = limited and place == n % 5
                assert isinstance(outcome, Permanent if refused else Delivered), outcome
                wanted |= set() if refused else {message.id}
        assert {one.id for one in trial.came(wanted)} == wanted

    def test_an_empty_call_and_one_that_is_too_late(self, trial: Trial) -> None:
        sink = trial.open()
        assert trial.deliver(sink, []) == []
        assert trial.deliver(sink, [], -1) == []
        late = trial.messages(3)
        outcomes = trial.deliver(sink, late, -1)
        for outcome in outcomes:
            assert not isinstance(outcome, Permanent | Misconfigured), "nothing is wrong with it"
        trial.deliver_all(sink, last := trial.messages(1))
        trial.came(delivered(late, outcomes) | ids(last))

    def test_an_outage_is_unreachable_and_delivery_goes_on_after_it(
        self, trial: Trial, sink: Sink
    ) -> None:
        needs(trial, "outage")
        trial.harness.cut()
        last: list[Outcome] = []

        def unreachable() -> bool:
            last[:] = trial.deliver(sink, trial.messages(5), DEADLINE)
            allowed = {"Unreachable", "Retry", "Snoozed"}
            assert kinds(last).keys() <= allowed, f"nobody was there, and it said {last}"
            return kinds(last) == {"Unreachable": 5}

        # What was acknowledged just before may make the first of them a Retry.
        soon(unreachable, lambda: f"nobody is there, and it says {last}")
        trial.harness.mend()
        trial.recovers(sink)

    def test_a_mute_server_is_ambiguous_and_the_deadline_is_kept(
        self, trial: Trial, sink: Sink
    ) -> None:
        needs(trial, "silence")
        trial.harness.hang()
        for outcome in trial.deliver(sink, trial.messages(5), DEADLINE):
            if isinstance(outcome, Retry):
                assert outcome.ambiguous, f"the server may have it: {outcome}"
            else:  # Snoozed: not sent, as others wait
                assert isinstance(outcome, Unreachable | Snoozed), outcome
        trial.harness.mend()
        trial.recovers(sink)

    def test_wrong_credentials_are_misconfigured(self, trial: Trial) -> None:
        needs(trial, "credentials")
        sink = trial.watch(trial.harness.open_with_wrong_secret(SHORT))
        outcomes = trial.deliver(sink, trial.messages(3), SHORT)
        assert kinds(outcomes) == {"Misconfigured": 3}, outcomes

    def test_a_missing_destination_is_misconfigured(self, trial: Trial) -> None:
        needs(trial, "destinations")
        sink, destination = trial.harness.misdirected(SHORT)
        sent = trial.messages(3, destination=destination)
        outcomes = trial.deliver(trial.watch(sink), sent, SHORT)
        assert kinds(outcomes) == {"Misconfigured": 3}, outcomes

    def test_closing_in_the_middle_claims_nothing_that_was_not_received(self, trial: Trial) -> None:
        sink, begun = trial.open(), threading.Event()

        def send(key: str) -> set[str]:
            """Batch after batch, until one is not taken; the ids of what was."""
            done: set[str] = set()
            while True:
                batch = trial.messages(10, key=key)
                now = delivered(batch, trial.deliver(sink, batch, 30.0))
                done |= now
                begun.set()
                if len(now) < len(batch):
                    return done

        with ThreadPoolExecutor(2) as pool:
            senders = [pool.submit(send, key) for key in "ab"]
            begun.wait(TIMEOUT)
            trial.close(sink)
            acknowledged = [sender.result(STOP) for sender in senders]
        trial.came(set[str]().union(*acknowledged))

    def test_closing_ends_the_calls_that_wait_for_a_mute_server(self, trial: Trial) -> None:
        needs(trial, "silence")
        sink, sent = trial.open(30.0), trial.messages(20)
        trial.harness.hang()
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(trial.deliver, sink, sent, 30.0)
            with pytest.raises(TimeoutError):
                call.result(0.3)
            trial.close(sink)
            outcomes = call.result(STOP)
        assert not delivered(sent, outcomes), "the server has answered nothing"

    def test_after_close_nothing_is_sent_and_nothing_is_left(self, trial: Trial) -> None:
        if not os.path.isdir("/proc/self/task"):
            pytest.skip("threads and sockets are counted by /proc, which this system does not have")
        if "PYTEST_XDIST_WORKER" in os.environ:
            pytest.skip("threads of other tests in this process would be counted: run it by itself")
        sink = trial.open()
        trial.deliver_all(sink, sent := trial.messages(1))
        trial.came(ids(sent))  # what the harness needs for that is open now
        trial.close(sink)
        del sink
        proxy = trial.harness.proxy
        left = ""
        for _ in range(3):  # what a sink leaves it leaves each time; others' threads come and go
            before = _held(proxy)
            sink = trial.open()
            trial.deliver_all(sink, trial.messages(3))
            trial.close(sink)
            late = trial.messages(2)
            assert not delivered(late, trial.deliver(sink, late, SHORT)), "it is closed"
            del sink  # what a library ends only with its last object may wait for that, no longer
            gc.collect()
            try:
                soon(lambda: _held(proxy) <= before, lambda: f"{sorted(_held(proxy) - before)}")  # noqa: B023
            except AssertionError as error:
                left = str(error)
            else:
                return
        raise AssertionError(f"left: {left}")


def _held(proxy: Proxy | None) -> set[str]:
    """The threads and sockets of this process, without those of the proxy."""
    others = {t.native_id for t in threading.enumerate() if t.name == THREADS}
    held = {f"thread {name}" for name in os.listdir("/proc/self/task") if int(name) not in others}
    of_proxy = proxy.descriptors() if proxy is not None else set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # listdir's own
            leads_to = os.readlink(f"/proc/self/fd/{descriptor}")
            if leads_to.startswith("socket:") and int(descriptor) not in of_proxy:
                held.add(leads_to)
    return held


def needs(trial: Trial, capability: Capability) -> None:
    """Skip the test, with the reason, where there is no such thing."""
    if why := trial.harness.lacks.get(capability):
        pytest.skip(f"no {capability}: {why}")
