"""Order through restarts of the broker: what a reader of the topic finds in Apache Kafka itself."""

from __future__ import annotations

import pytest

from tests.chaos.ordered import ORDERED, Inserters, overtaken
from tests.chaos.processes import Scene
from tests.support.database import new_name
from tests.support.real_kafka import RealKafka
from tests.support.records import header, read_until
from tests.support.wait import eventually

JOBS = 16_000
RATE = 500.0
KEYS = 100
PARTITIONS = 3


def completed(scene: Scene) -> int:
    return scene.states().get("completed", 0)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_order_is_kept_while_kafka_is_stopped_and_killed(
    scene: Scene, real_kafka: RealKafka
) -> None:
    topic = new_name("ordered")
    real_kafka.create_topic(topic, PARTITIONS)
    sink = {
        "RIVERBRIDGE_SINKS__EVENTS__TYPE": "kafka",
        "RIVERBRIDGE_SINKS__EVENTS__BOOTSTRAP_SERVERS": real_kafka.bootstrap_servers,
        "RIVERBRIDGE_SINKS__EVENTS__TOPIC": topic,
    }
    bridge = scene.launch("one", sink | ORDERED).until_serving()
    delivered: list[int] = []
    with Inserters(scene.database, jobs=JOBS, keys=KEYS, rate=RATE, late=2.0) as inserters:

        def reached(part: float) -> None:
            eventually(lambda: len(inserters.inserted) >= part * JOBS, 60)

        for part, end in ((0.2, real_kafka.stop), (0.6, real_kafka.kill)):
            reached(part)
            end()
            delivered.append(completed(scene))
            real_kafka.start()
            eventually(lambda: completed(scene) > delivered[-1], 60)
    scene.until({"completed": inserters.total}, 90)
    assert bridge.running
    assert 0 < delivered[0] < delivered[1] < JOBS

    records = read_until(
        real_kafka.bootstrap_servers,
        topic,
        lambda so_far: len(so_far) >= real_kafka.records(topic, PARTITIONS),
        partitions=PARTITIONS,
    )
    # A key is in one partition, where offsets say what comes first.
    records.sort(key=lambda record: (record.partition() or 0, record.offset() or 0))
    arrived = [int(header(record, "ce_id").rpartition(":")[2]) for record in records]
    print(f"\n{len(arrived) - inserters.total} of {inserters.total} came twice, "
          f"{delivered} were delivered at the restarts")  # fmt: skip
    assert set(arrived) == {one.id for one in inserters.inserted}
    assert overtaken(inserters.inserted, arrived) == []
