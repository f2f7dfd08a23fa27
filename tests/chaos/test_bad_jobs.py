"""Jobs as nobody should insert them, and as somebody will: none of them stops the process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.chaos.processes import Process, Scene
from tests.chaos.topics import records
from tests.support.mock_kafka import MockKafka

MIB = 1 << 20

NESTED = "[" * 100 + "]" * 100

ODD_ARGS = [
    "{}",
    "1",
    '"text"',
    "null",
    "true",
    "[]",
    "[1, [2, {}]]",
    '{"n": 123456789012345678901234567890.000000000000000000001, "m": 1e400, "z": -0.0}',
    '{"a": 1, "a": 2, "b": "\\u0001\\ufffe\\u2028 \U0001f600"}',
    f'{{"deep": {NESTED}}}',
    '{"": {"": ""}, "event_id": "no", "traceparent": [1]}',
]

ODD_COLUMNS = {
    "kind": ["'", "x" * 127, "ключ", "a b\tc", "%_\\", "..", "\U0001f600"],
    "metadata": ["1", "[]", "null", '"x"', '{"event_id": 987654321}', '{"traceparent": {"a": 1}}'],
    "scheduled_at": ["-infinity", "0001-01-01", "4000-01-01 BC"],
    "created_at": ["294276-12-31", "infinity", "-infinity", "4000-01-01 BC"],
    "attempted_by": ["{}", "{" + ",".join(["somebody"] * 150) + "}"],
    "tags": ["{" + ",".join(f"tag_{n}" for n in range(1000)) + "}", '{"a,b","ü"}'],
    "errors": ["{}", '{"1"}', '{"[]",null}'],
    "unique_states": ["11111111"],
}


def _kafka(servers: str, **more: str) -> dict[str, str]:
    return {
        "RIVERBRIDGE_SINKS__EVENTS__TYPE": "kafka",
        "RIVERBRIDGE_SINKS__EVENTS__BOOTSTRAP_SERVERS": servers,
        "RIVERBRIDGE_SINKS__EVENTS__TOPIC": "events",
    } | {f"RIVERBRIDGE_{name}": value for name, value in more.items()}


def _insert_odd_jobs(scene: Scene) -> list[int]:
    ids = [scene.insert(1, args=args)[0] for args in ODD_ARGS]
    for column, values in ODD_COLUMNS.items():
        ids += [scene.insert(1, **{column: value})[0] for value in values]
    return ids


@pytest.mark.parametrize("envelope", ["raw", "cloudevents"])
def test_odd_jobs_are_delivered_byte_for_byte(
    scene: Scene, kafka_mock: MockKafka, envelope: str
) -> None:
    kafka_mock.create_topic("events")
    odd = _insert_odd_jobs(scene)
    (never,) = scene.insert(1, scheduled_at="infinity")
    good = scene.insert(100)
    settings = _kafka(kafka_mock.bootstrap_servers, SINKS__EVENTS__ENVELOPE=envelope)
    process = scene.launch("one", settings)
    scene.until({"completed": len(odd) + 100, "available": 1}, 20)
    assert scene.connection.execute(
        "SELECT attempt FROM river_job WHERE id = %s AND state = 'available'", (never,)
    ).fetchone() == (0,)
    texts: dict[int, str] = dict(
        scene.connection.execute("SELECT id, args::text FROM river_job").fetchall()
    )
    found = records(kafka_mock.bootstrap_servers, "events", [])
    bodies: dict[int, list[bytes]] = {}
    for job, record in found:
        value = record.value()
        assert isinstance(value, bytes)
        bodies.setdefault(job, []).append(value)
    named = [id_ for id_ in odd + good if id_ in bodies]
    assert len(named) >= len(odd) + 99  # one gave itself another event id
    assert all(bodies[id_] == [texts[id_].encode()] for id_ in named)
    assert len(found) == len(odd) + 100
    process.send(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_field_missing_in_one_job_discards_that_one(scene: Scene, kafka_mock: MockKafka) -> None:
    kafka_mock.create_topic("events")
    good = scene.insert(200, args='{"customer": {"id": 7}}')
    bad = [
        scene.insert(1, args=args, max_attempts=25)[0]
        for args in ("{}", '{"customer": 1}', '{"customer": {"id": null}}', "[]", "null", NESTED)
    ]
    good += scene.insert(200, args='{"customer": {"id": "x"}}')
    settings = _kafka(
        kafka_mock.bootstrap_servers,
        SINKS__EVENTS__HEADERS='{"customer": "{args.customer.id}"}',
    )
    scene.launch("one", settings)
    scene.until({"completed": len(good), "discarded": len(bad)}, 20)
    for attempt, errors, id_ in scene.connection.execute(
        "SELECT attempt, errors, id FROM river_job WHERE state = 'discarded'"
    ).fetchall():
        assert id_ in bad
        assert (attempt, len(errors)) == (1, 1)
        assert "args.customer.id" in errors[0]["error"]


def test_a_message_above_the_limit_is_discarded_with_size_and_limit(
    scene: Scene, kafka_mock: MockKafka
) -> None:
    kafka_mock.create_topic("events")
    good = scene.insert(50)
    (bad,) = scene.insert(1, args='{"x": "' + "y" * 2 * MIB + '"}')
    good += scene.insert(50)
    scene.launch("one", _kafka(kafka_mock.bootstrap_servers))
    scene.until({"completed": 100, "discarded": 1}, 20)
    row = scene.connection.execute(
        "SELECT attempt, errors FROM river_job WHERE id = %s AND state = 'discarded'", (bad,)
    ).fetchone()
    assert row is not None
    attempt, (error,) = row
    assert attempt == 1
    assert str(2 * MIB)[:3] in error["error"]
    assert "1000000" in error["error"].replace(",", "").replace("_", "")
    assert "message.max.bytes" in error["error"]


def _peak(process: Process) -> int:
    """The most memory it ever had, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def _large_jobs(scene: Scene, kafka_mock: MockKafka, count: int) -> None:
    kafka_mock.create_topic("events", partitions=4)
    scene.insert(count, args='{"x": "' + "y" * MIB + '"}')
    config = '{"message.max.bytes": "2000000"}'
    settings = _kafka(kafka_mock.bootstrap_servers, SINKS__EVENTS__CONFIG=config)
    process = scene.launch("one", settings).until_serving()
    scene.until({"completed": count}, 200)
    peak = _peak(process)
    print(f"{count} jobs of 1 MiB: {peak} MiB at most")
    assert peak <= 400


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_large_jobs_do_not_fill_the_memory(scene: Scene, kafka_mock: MockKafka) -> None:
    _large_jobs(scene, kafka_mock, 300)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_thousands_of_large_jobs_do_not_fill_the_memory(
    scene: Scene, kafka_mock: MockKafka
) -> None:
    _large_jobs(scene, kafka_mock, 2000)


def test_a_sink_that_raises_spends_attempts_and_stops_nothing(scene: Scene) -> None:
    (bad,) = scene.insert(1, max_attempts=1)
    process = scene.start("one", fail={str(bad): "raise: a defect"})
    scene.until({"discarded": 1})
    assert process.said("sink test raised instead of answering")
    ids = scene.insert(20)
    scene.until({"completed": 20, "discarded": 1})
    assert set(scene.ledger.counts()) >= set(ids)
    process.send(signal.SIGTERM)
    assert process.wait(20) == 0
