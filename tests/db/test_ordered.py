"""Ordered claims on Postgres: late commits, owners, and what keeps a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any
from zlib import crc32

import msgspec
import psycopg
import pytest

from riverbridge.engine.batch import Batch
from riverbridge.engine.deal import SHARES, Deal
from riverbridge.engine.ordered import Ordered
from riverbridge.engine.pace import Pace
from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Delivered, Outcome
from riverbridge.store.database import connector, transaction
from riverbridge.store.order import OrderTable
from tests.support.database import Database
from tests.support.jobs import ATaker, add, fill
from tests.support.wait import eventually

Rows = psycopg.Connection[tuple[Any, ...]]


class _SameShare(dict[str, str]):
    def __missing__(self, name: str) -> str:
        numbers = (f"{name}-{n}" for n in range(1000))
        self[name] = next(key for key in numbers if crc32(key.encode()) % SHARES == 0)
        return self[name]


SAME_SHARE = _SameShare()


def key_of(job: ClaimedJob) -> str:
    try:
        # All of these are of the first share.
        return SAME_SHARE[msgspec.json.decode(job.args, type=dict[str, str])["k"]]
    except KeyError as error:
        raise TemplateError("no key") from error


class Owner:
    """One replica's claims, each in a transaction of its own."""

    def __init__(self, database: Database, name: str, **changes: Any) -> None:
        self.connection = connector(database.dsn)()
        table = OrderTable(None, name, route="r", queue="q", kinds=["%"])
        pace = Pace(claiming="auto", batch_size=1000, batch_bytes=8 << 20, hold=1.0)
        self.order = Ordered(table, pace, **{"deal": Deal(key_of), **changes})

    def claiming(self) -> AbstractContextManager[None]:
        return transaction(self.connection, idle=5.0, total=10.0)

    def claim(self, limit: int = 100) -> list[ClaimedJob]:
        for _ in range(50):  # while there is more to be read
            jobs = self.order.claim(self.connection, limit, byte_budget=8 << 20, aside=[])
            if jobs or not self.order.more:
                return jobs
        raise AssertionError("read and read, and found nothing")

    def round(
        self,
        limit: int = 100,
        write: str = "state = 'completed', finalized_at = now()",
        outcome: Outcome | None = Delivered(),  # noqa: B008 - a value
    ) -> list[int]:
        """Claim, deliver, settle; `write` is what the rows get."""
        with self.claiming():
            jobs = self.claim(limit)
            ids = [job.id for job in jobs]
            batch = Batch(jobs, 0.0)
            if jobs:
                self.order.hand_over(batch, ATaker(), 60.0)
                self.connection.execute(
                    f"UPDATE river_job SET {write} WHERE id = ANY (%s)".encode(), (ids,)
                )
        if outcome is not None:
            batch.answer([outcome] * len(ids))
        self.order.settled(batch, ())
        return ids


@pytest.fixture
def owners(database: Database) -> Iterator[Callable[..., Owner]]:
    made: list[Owner] = []

    def make(name: str = "riverbridge_one", **changes: Any) -> Owner:
        made.append(Owner(database, name, **changes))
        made[-1].connection.execute(
            "INSERT INTO riverbridge_process (id, host, pid, version) VALUES (%s, 'h', 1, '0')",
            (name,),
        )
        return made[-1]

    yield make
    for owner in made:
        owner.connection.close()


@pytest.fixture
def connection(database: Database) -> Iterator[Rows]:
    with database.connect() as opened:
        yield opened


def key(name: str) -> dict[str, str]:
    return {"args": f"""'{{"k": "{name}"}}'"""}


LATER = "now() + interval '1 hour'"
FAILED = (
    "state = 'retryable', attempt = attempt + 1, scheduled_at = now() + interval '1 hour',"
    " errors = '{\"{}\"}'"
)


def test_by_id_whatever_the_priority_and_one_of_a_key_first(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    first = add(connection, priority="4", **key("a"))
    second = add(connection, priority="1", **key("a"))
    other = add(connection, priority="2", **key("b"))
    add(connection, queue="'elsewhere'", **key("b"))
    assert owners().round() == [first, other, second]


def test_a_lower_id_that_is_committed_late_goes_before_what_is_inserted_after_it(
    database: Database, connection: Rows, owners: Callable[..., Owner]
) -> None:
    owner = owners()
    before = add(connection, **key("a"))
    assert owner.round() == [before]
    with database.connect(autocommit=False) as late:
        low = add(late, **key("a"))
        rolled_back = add(late, **key("a"))
        overlapping = add(connection, **key("a"))
        assert low < rolled_back < overlapping
        assert owner.round() == [overlapping]
        late.execute("DELETE FROM river_job WHERE id = %s", (rolled_back,))
        late.commit()
    after = add(connection, **key("a"))
    assert owner.round() == [low, after]
    assert owner.round() == []


def test_writers_are_seen_in_any_schema(database: Database) -> None:
    with database.connect() as look, database.connect(autocommit=False) as writer:
        for schema in (None, "public"):
            table = OrderTable(schema, "me", route="r", queue="q", kinds=["%"])
            assert table.writers(look) == frozenset()
        add(writer)
        for schema in (None, "public"):
            table = OrderTable(schema, "me", route="r", queue="q", kinds=["%"])
            assert len(table.writers(look)) == 1


def test_a_late_job_from_before_the_takeover_goes_before_what_is_inserted_after_it(
    database: Database, connection: Rows, owners: Callable[..., Owner]
) -> None:
    owner = owners()
    with database.connect(autocommit=False) as late:
        low = add(late, **key("a"))
        high = add(connection, **key("b"))
        assert owner.round() == [high]
        late.commit()
        after = add(connection, **key("a"))
        # Open transactions that are younger than all that have ended: no age may count from these.
        with (
            database.connect(autocommit=False) as younger,
            database.connect(autocommit=False) as youngest,
        ):
            for one in (younger, youngest):
                add(one, queue="'elsewhere'")
            assert owner.round() == [low, after]


def test_a_failing_job_keeps_its_key_and_no_other_until_it_is_cancelled(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    owner = owners()
    head = add(connection, **key("a"))
    assert owner.round(write=FAILED, outcome=None) == [head]
    fill(connection, 3, args="""'{"k": "a"}'""")
    other = add(connection, **key("b"))
    assert owner.round() == [other]
    assert owner.round() == []
    connection.execute(
        "UPDATE river_job SET state = 'cancelled', finalized_at = now() WHERE id = %s", (head,)
    )
    eventually(lambda: owner.round() == [head + 1, head + 2, head + 3])


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM river_job", "UPDATE river_job SET state = 'available', scheduled_at = now()"],
    ids=["deleted", "retried"],
)
def test_what_others_do_with_the_failing_job_is_seen(
    connection: Rows, owners: Callable[..., Owner], change: str
) -> None:
    owner = owners()
    head = add(connection, **key("a"))
    owner.round(write=FAILED, outcome=None)
    behind = add(connection, **key("a"))
    assert owner.round() == []
    connection.execute(f"{change} WHERE id = %s".encode(), (head,))
    left = [behind] if change.startswith("DELETE") else [head, behind]
    eventually(lambda: owner.round() == left)


@pytest.mark.parametrize(
    ("columns", "keeps"),
    [
        ({"state": "'running'", "attempt": "1"}, True),
        ({"state": "'retryable'", "attempt": "1"}, True),
        ({"state": "'scheduled'", "attempt": "1"}, True),
        ({"state": "'scheduled'", "metadata": """'{"riverbridge:parked": {}}'"""}, True),
        ({"state": "'scheduled'"}, False),
        ({"state": "'pending'"}, False),
        ({"state": "'discarded'", "attempt": "25", "finalized_at": "now()"}, False),
    ],
    ids=lambda value: value if isinstance(value, bool) else " ".join(value.values()),
)
def test_what_keeps_its_key_from_a_new_owner(
    connection: Rows, owners: Callable[..., Owner], columns: dict[str, str], keeps: bool
) -> None:
    add(connection, **columns, **key("a"), scheduled_at="now() + interval '1 hour'")
    behind = add(connection, **key("a"))
    other = add(connection, **key("b"))
    assert owners().round() == ([other] if keeps else [behind, other])


def test_a_job_that_is_available_ahead_of_its_time_is_waited_for(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    """The clock of its inserter is ahead."""
    owner = owners()
    early = add(connection, scheduled_at="now() + interval '100 ms'", **key("a"))
    second = add(connection, **key("a"))
    other = add(connection, **key("b"))
    assert owner.round() == [other]
    eventually(lambda: owner.round() == [early, second])


def test_a_scheduled_job_joins_when_it_becomes_available(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    owner = owners()
    scheduled = add(connection, state="'scheduled'", scheduled_at=LATER, **key("a"))
    behind = add(connection, **key("a"))
    assert owner.round() == [behind]
    connection.execute(
        "UPDATE river_job SET state = 'available', scheduled_at = now() WHERE id = %s", (scheduled,)
    )
    eventually(lambda: owner.round() == [scheduled])


def test_between_sweeps_over_all_that_waits_what_was_due_lately_is_found(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    """Such as where those take long. What was due long ago waits for the next of them."""
    clock = [0.0]
    owner = owners(clock=lambda: clock[0])
    instants = {"a": "now()", "b": "now() - interval '1 hour'"}
    lately, long_ago = (
        add(connection, state="'scheduled'", scheduled_at=at, **key(name))
        for name, at in instants.items()
    )
    while not clock[0] or owner.order._unsure is not None:
        clock[0] += 0.5
        assert owner.round() == []
    owner.order._sweep_rests_until = rested = clock[0] + 5.0
    connection.execute("UPDATE river_job SET state = 'available'")
    found = []
    while clock[0] < rested - 0.5:
        clock[0] += 0.5
        found += owner.round()
    assert found == [lately]
    clock[0] += 0.5
    assert owner.round() == [long_ago]


def test_a_look_that_takes_long_is_not_repeated_at_each_claim(
    owners: Callable[..., Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as where 100,000 jobs became due lately, behind one of their key that fails."""
    clock, looks = [0.0], []
    owner = owners(clock=lambda: clock[0])
    sweep = OrderTable.sweep

    def slow(table: OrderTable, *given: Any, **named: Any) -> list[int]:
        looks.append(clock[0])
        clock[0] += 0.1
        return sweep(table, *given, **named)

    while not clock[0] or owner.order._unsure is not None:
        clock[0] += 0.5
        assert owner.round() == []
    monkeypatch.setattr(OrderTable, "sweep", slow)
    began = clock[0]
    while clock[0] < began + 20:
        clock[0] += 0.25
        assert owner.round() == []
    assert 5 <= len(looks) <= 10


def test_a_row_that_another_session_holds_is_not_overtaken(
    database: Database, connection: Rows, owners: Callable[..., Owner]
) -> None:
    owner = owners()
    fill(connection, 3, args="""'{"k": "a"}'""")
    other = add(connection, **key("b"))
    with database.connect(autocommit=False) as holder:
        holder.execute("SELECT FROM river_job ORDER BY id LIMIT 1 FOR UPDATE")
        assert owner.round() == [other]
        assert owner.round() == []
    eventually(lambda: owner.round() == [other - 3, other - 2, other - 1])


def test_jobs_without_a_key_are_in_nobodys_way(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    owner = owners()
    ids = [add(connection) for _ in range(4)]
    mine = [id_ for id_ in ids if id_ % SHARES == 0]
    assert owner.round(write=FAILED, outcome=None) == mine
    more = [add(connection) for _ in range(2)]
    assert owner.round() == [id_ for id_ in more if id_ % SHARES == 0]


def test_only_one_process_claims_and_another_follows_when_it_is_silent(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    one, two = owners("riverbridge_one"), owners("riverbridge_two")
    fill(connection, 4, args="""jsonb_build_object('k', n::text)""")
    with one.claiming():
        assert len(one.claim(1)) == 1
        with two.claiming():
            assert two.claim() == []
    one.order.forget()
    with two.claiming():
        assert two.claim() == []  # not its own, though nobody claims just now
    assert two.order.foreign
    connection.execute("UPDATE riverbridge_route SET seen_at = now() - interval '10 s'")
    assert len(two.round(1)) == 1
    assert one.round() == []
    connection.execute("DELETE FROM riverbridge_process WHERE id = 'riverbridge_two'")
    assert len(one.round()) == 3


def test_a_new_owner_reads_a_long_backlog_by_id_and_looks_behind_it(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    fill(connection, 3000, args="""jsonb_build_object('k', (n % 7)::text)""", priority="1 + n % 4")
    owner = owners()
    delivered: list[int] = []
    for _ in range(500):
        delivered += owner.round(50)
        if len(delivered) == 3000:
            break
    assert sorted(delivered) == list(range(delivered[0], delivered[0] + 3000))
    for one in range(7):
        mine = [id_ for id_ in delivered if id_ % 7 == one]
        assert mine == sorted(mine)


def test_the_shares_of_a_route_read_each_row_of_a_backlog_once(
    connection: Rows, owners: Callable[..., Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(connection, 3000, args="""jsonb_build_object('k', (n % 40)::text)""")
    first = add(connection)  # it has no key
    deal = Deal(lambda job: _field(job.args))
    shares = [owners(f"riverbridge_{share}", deal=deal, share=share) for share in range(SHARES)]
    for owner in shares:
        owner.order._table.client = owner.order._table._route["owner"] = "riverbridge_0"
    read: list[ClaimedJob] = []
    rows = _counting(OrderTable.rows, read)
    monkeypatch.setattr(OrderTable, "rows", rows)
    delivered: list[list[int]] = [[] for _ in shares]
    for number in range(200):
        share = number % SHARES
        delivered[share] += shares[share].round(100)
        if sum(map(len, delivered)) == 3001:
            break
    assert all(delivered)
    assert sorted(chain(*delivered)) == list(range(first - 3000, first + 1))
    assert len(read) == 3001
    for mine in delivered:
        for one in range(40):
            ids = [id_ for id_ in mine if id_ % 40 == one and id_ != first]
            assert ids == sorted(ids)
            assert len(ids) in (0, 75)


def _field(args: str | bytes) -> str:
    try:
        return msgspec.json.decode(args, type=dict[str, str])["k"]
    except KeyError as error:
        raise TemplateError("no key") from error


def test_what_another_share_has_read_and_somebody_has_cancelled_is_left_out(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    one = add(connection, args="""'{"k": "a"}'""")
    two = add(connection, args="""'{"k": "a"}'""")
    deal = Deal(lambda job: _field(job.args))
    mine = next(share for share in range(SHARES) if crc32(b"a") % SHARES == share)
    other, owner = (
        owners(f"riverbridge_{share}", deal=deal, share=share) for share in (1 - mine, mine)
    )
    owner.order._table.client = owner.order._table._route["owner"] = other.order._table.client
    assert other.round() == []
    with owner.claiming():
        # It finds both, and knows their keys from the other; then one is cancelled.
        assert owner.order.claim(owner.connection, 0, byte_budget=1 << 20) == []
    connection.execute(
        "UPDATE river_job SET state = 'cancelled', finalized_at = now() WHERE id = %s", (one,)
    )
    assert owner.round() == []
    assert eventually(owner.round) == [two]


def test_a_claim_that_fails_is_forgotten_and_read_again(
    connection: Rows, owners: Callable[..., Owner]
) -> None:
    owner = owners()
    first = add(connection, **key("a"))
    owner.connection.execute("BEGIN")
    assert [job.id for job in owner.claim()] == [first]
    owner.connection.execute("ROLLBACK")
    owner.order.forget()
    assert owner.round() == [first]


def test_what_waits_for_a_failing_job_is_not_read_again(
    connection: Rows, owners: Callable[..., Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = owners()
    add(connection, **key("a"))
    owner.round(write=FAILED, outcome=None)
    fill(connection, 20_000, args="""'{"k": "a"}'""")
    assert owner.round() == []
    assert owner.order.blocked == 20_000
    seen: list[ClaimedJob] = []
    for name in ("_jobs", "read"):
        monkeypatch.setattr(OrderTable, name, _counting(getattr(OrderTable, name), seen))
    for _ in range(10):
        one = add(connection, **key("b"))
        assert owner.round() == [one]
    assert len(seen) <= 2 * 10  # each of the new ones as it is read and as it is claimed


def _counting(method: Any, seen: list[ClaimedJob]) -> Any:
    def counted(*given: Any, **named: Any) -> Any:
        found = method(*given, **named)
        seen.extend(found if isinstance(found, list) else found.jobs)
        return found

    return counted
