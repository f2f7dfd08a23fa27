"""The threads of a sink: as many as all calls want together, and nothing left of an idle one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from riverbridge.sinks.threads import Threads
from tests.support.wait import eventually


class ACall:
    def __init__(self, turns: int = 1) -> None:
        self.done = threading.Event()
        self.left = turns


class AConnection:
    def __init__(self) -> None:
        self.closed = self.aborted = 0

    def abort(self) -> None:
        self.aborted += 1

    def close(self) -> None:
        self.closed += 1


Make = Callable[..., "Threads[ACall, AConnection]"]


@pytest.fixture
def connections() -> list[AConnection]:
    return []


@pytest.fixture
def make(connections: list[AConnection]) -> Iterator[Make]:
    made: list[Threads[ACall, AConnection]] = []

    def connect() -> AConnection:
        connections.append(AConnection())
        return connections[-1]

    def make(
        turn: Callable[[AConnection, ACall], int], most: int = 3, idle: float | None = None
    ) -> Threads[ACall, AConnection]:
        made.append(Threads("under-test", most, connect, turn, idle))
        return made[-1]

    yield make
    for threads in made:
        threads.close()


def test_calls_of_one_turn_each_are_served_at_once(make: Make) -> None:
    together = threading.Barrier(3, timeout=10)

    def turn(connection: AConnection, call: ACall) -> int:
        together.wait()
        call.done.set()
        return 0

    threads, calls = make(turn), [ACall() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda call: threads.serve(call, 1, 10), calls))
    assert all(call.done.is_set() for call in calls)


def test_a_call_gets_the_turns_it_asks_for_and_no_more_threads_than_that(
    make: Make, connections: list[AConnection]
) -> None:
    def turn(connection: AConnection, call: ACall) -> int:
        call.left -= 1
        if not call.left:
            call.done.set()
        return 1 if call.left else 0

    threads = make(turn)
    for _ in range(3):
        call = ACall(turns=20)
        threads.serve(call, 1, 10)
        assert call.left == 0
    assert len(connections) <= 2  # the last turn of a call may not have ended when the next begins


def test_close_aborts_what_is_out_and_lets_calls_go(
    make: Make, connections: list[AConnection]
) -> None:
    aborted = threading.Event()

    def turn(connection: AConnection, call: ACall) -> int:
        connection.abort = aborted.set  # type: ignore[method-assign]
        aborted.wait(10)
        return 0

    threads, call = make(turn), ACall()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(threads.serve, call, 1, 10)
        eventually(lambda: connections)
        threads.close()
        waiting.result(1)
    assert [connection.closed for connection in connections] == [1]
    threads.serve(ACall(), 1, 10)  # returns at once
    assert len(connections) == 1


def test_a_thread_without_work_closes_its_connection_and_works_on_later(
    make: Make, connections: list[AConnection]
) -> None:
    def turn(connection: AConnection, call: ACall) -> int:
        call.done.set()
        return 0

    threads = make(turn, idle=0.02)
    for times in (1, 2):
        threads.serve(ACall(), 1, 10)
        eventually(lambda times=times: connections[0].closed == times)  # type: ignore[misc]
    assert len(connections) == 1
