"""Operations as generators: rows go in, errors go in, the result comes out."""

from __future__ import annotations

import asyncio

import pytest

from riverbridge.store.exchange import Exchange, Query, Rows, carry_out, carry_out_async


def _twice() -> Exchange[list[int]]:
    first = yield Query("one")
    second = yield Query("two", {"n": first[0][0]})
    return [first[0][0], second[0][0]]


def _answer(query: Query) -> Rows:
    return [(1,)] if query.name == "one" else [(query.parameters["n"] + 1,)]


def test_rows_are_sent_in_and_the_result_comes_out() -> None:
    assert carry_out(_twice(), _answer) == [1, 2]


def test_an_awaited_run_gives_the_same() -> None:
    async def answer(query: Query) -> Rows:
        await asyncio.sleep(0)
        return _answer(query)

    assert asyncio.run(carry_out_async(_twice(), answer)) == [1, 2]


def _translating() -> Exchange[None]:
    try:
        yield Query("one")
    except KeyError as error:
        raise LookupError("translated") from error


def _fail(query: Query) -> Rows:
    raise KeyError(query.name)


def test_an_operation_may_translate_what_its_query_raised() -> None:
    with pytest.raises(LookupError, match="translated"):
        carry_out(_translating(), _fail)


def test_an_error_it_does_not_know_passes_through() -> None:
    with pytest.raises(KeyError):
        carry_out(_twice(), _fail)
