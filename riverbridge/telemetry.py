"""The names under which riverbridge is measured.

Instruments of OpenTelemetry's API: without a provider they cost nothing, `service` installs one
and Prometheus reads it at `/metrics`. Labels are route, queue, sink and outcome names from the
settings, never anything from a job.
"""

from __future__ import annotations

from opentelemetry import metrics

_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
_JOBS = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0]

meter = metrics.get_meter("riverbridge")

outcomes = meter.create_counter(
    "riverbridge.jobs",
    unit="{job}",
    description="Jobs settled or released, by route and outcome.",
)
sent = meter.create_counter(
    "riverbridge.sink.messages",
    unit="{message}",
    description="Messages answered by a sink, by sink and outcome.",
)
batch_size = meter.create_histogram(
    "riverbridge.batch.size",
    unit="{job}",
    description="Jobs in a claimed batch.",
    explicit_bucket_boundaries_advisory=_JOBS,
)
claim_seconds = meter.create_histogram(
    "riverbridge.claim.duration",
    unit="s",
    description="Time of a claim.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
deliver_seconds = meter.create_histogram(
    "riverbridge.deliver.duration",
    unit="s",
    description="Time a batch was out.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
settle_seconds = meter.create_histogram(
    "riverbridge.settle.duration",
    unit="s",
    description="Time of a settle, its commit included.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
transaction_seconds = meter.create_histogram(
    "riverbridge.transaction.duration",
    unit="s",
    description="Age of a lane's transaction at its end: how long rows were locked.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
leased = meter.create_counter(
    "riverbridge.leases",
    unit="{job}",
    description="Jobs that became leases, by route.",
)
rescued = meter.create_counter(
    "riverbridge.rescued",
    unit="{job}",
    description="Leases of dead processes taken back.",
)
reconciled = meter.create_counter(
    "riverbridge.reconciled",
    unit="{job}",
    description="Jobs in doubt of which the sink's receiver was asked, by sink and answer.",
)
unsettleable = meter.create_counter(
    "riverbridge.unsettleable",
    unit="{job}",
    description="Times a row could not be written and was set aside, by route.",
)
queue_jobs = meter.create_gauge(
    "riverbridge.queue.available",
    unit="{job}",
    description="Due jobs of a queue (counted up to 100,000).",
)
queue_oldest = meter.create_gauge(
    "riverbridge.queue.oldest", unit="s", description="For how long the oldest of them is due."
)
unmatched_jobs = meter.create_gauge(
    "riverbridge.queue.unmatched", unit="{job}", description="Due jobs that no route takes."
)
unmatched_oldest = meter.create_gauge(
    "riverbridge.queue.unmatched.oldest", unit="s", description="For how long the oldest is due."
)
breaker_state = meter.create_gauge(
    "riverbridge.breaker", description="Of a sink: 0 closed, 1 half open, 2 open."
)
taken_in = meter.create_counter(
    "riverbridge.source.events",
    unit="{event}",
    description="Events of a source: jobs, duplicates, quarantined or skipped.",
)
source_lag = meter.create_gauge(
    "riverbridge.source.lag",
    unit="{event}",
    description="Events that a source's server has and this process has not read yet.",
)
source_wal = meter.create_gauge(
    "riverbridge.source.wal",
    unit="By",
    description="WAL that a Postgres keeps for the slot of a source.",
)
source_stopped = meter.create_gauge(
    "riverbridge.source.stopped",
    description="Partitions of a source that cannot go on without an operator.",
)
route_paused = meter.create_gauge(
    "riverbridge.route.paused", description="Whether somebody has paused a route: 0 or 1."
)
sink_paused = meter.create_gauge(
    "riverbridge.sink.paused", description="Whether somebody has paused a sink: 0 or 1."
)
logins_refused = meter.create_counter(
    "riverbridge.console.logins.refused",
    unit="{request}",
    description="Logins to the console that were wrong, or not looked at after too many.",
)
hooks_refused = meter.create_counter(
    "riverbridge.hooks.refused",
    unit="{request}",
    description="Webhooks that were not taken in, by source and status.",
)
