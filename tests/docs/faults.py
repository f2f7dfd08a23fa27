"""The tests behind docs/faults.md: for each fault and sink those that prove the cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SINKS = (
    *("kafka", "kafka tx", "sqs", "sns", "eventbridge", "kinesis", "webhook", "river", "file"),
)
AWS = ("sns", "eventbridge", "kinesis")

SUITE = {
    "kafka": "conformance/test_kafka.py::TestKafka",
    "sqs": "conformance/test_sqs.py::TestStandard",
    "sns": "conformance/test_aws.py::TestSns",
    "eventbridge": "conformance/test_aws.py::TestEventBridge",
    "kinesis": "conformance/test_aws.py::TestKinesis",
    "webhook": "conformance/test_webhook.py::TestWebhook",
    "river": "conformance/test_river.py::TestRiver",
    "file": "conformance/test_file.py::TestFile",
}
KAFKA = "bridge/test_kafka_sink.py::"
REAL = "bridge/test_real_kafka.py::"
SECURE = "bridge/test_real_kafka_security.py::"
TX = "bridge/test_kafka_transactions.py::"
TX_FAULTS = "bridge/test_kafka_transactions_faults.py::"
SQS = "bridge/test_sqs_sink.py::"
OTHER_AWS = "bridge/test_aws_sinks.py::"
EXPIRED = OTHER_AWS + "TestRequests::test_expired_credentials_are_read_again"
THROTTLED = OTHER_AWS + "TestRequests::test_throttled_and_broken_is_tried_again"
WEBHOOK = "bridge/test_webhook_sink.py::"
RIVER = "bridge/test_river_sink.py::"
FILE = "unit/test_file_sink.py::"
REACH = "bridge/test_reach.py::"

Proofs = Mapping[str, Sequence[str]]


def suite(test: str, *without: str, **more: Sequence[str]) -> dict[str, Sequence[str]]:
    """Every sink by this test of the conformance suite, but for some. more: names of sinks, with
    `_` for a space, and tests of their own."""
    proofs: dict[str, Sequence[str]] = {
        sink: [f"{where}::{test}"] for sink, where in SUITE.items() if sink not in without
    }
    return proofs | {sink.replace("_", " "): tests for sink, tests in more.items()}


def aws(test: str) -> dict[str, Sequence[str]]:
    """SNS, EventBridge and Kinesis by a test that is run for each."""
    return {sink: [f"{OTHER_AWS}{test}[{sink}]"] for sink in AWS}


def reach(test: str, *cases: str) -> dict[str, Sequence[str]]:
    """Every sink with a server, by a test that is run for each."""
    return {
        sink: [
            f"{REACH}{test}[{'transactions' if sink == 'kafka tx' else sink}{case}]"
            for case in cases
        ]
        for sink in SINKS
        if sink != "file"
    }


FAULTS: Mapping[str, Proofs] = {
    "Nobody there": suite(
        "test_an_outage_is_unreachable_and_delivery_goes_on_after_it[fresh]",
        kafka_tx=[
            TX_FAULTS + "test_nobody_there_at_the_start",
            TX_FAULTS + "test_an_outage_is_unreachable_and_delivery_goes_on_after_it",
        ],
    ),
    "No such name": reach("test_a_name_without_an_address_is_unreachable", ""),
    "No TLS to trust": reach(
        "test_tls_that_proves_nothing_or_is_too_old_is_misconfigured",
        *("-expired", "-other host", "-unknown authority", "-old", "-none"),
    ),
    "No right": suite(
        "test_wrong_credentials_are_misconfigured",
        kafka_tx=[
            TX_FAULTS + "test_a_login_that_is_refused_is_misconfigured",
            TX_FAULTS + "test_a_right_that_is_missing_is_misconfigured[transactional id]",
        ],
        file=[FILE + "test_no_right_to_write_is_misconfigured[Permission denied]"],
    ),
    "Credentials expire": {
        "kafka": [SECURE + "test_a_token_that_ends_is_made_again[plain]"],
        "kafka tx": [SECURE + "test_a_token_that_ends_is_made_again[transactions]"],
        "sqs": [SQS + "TestRequests::test_expired_credentials_are_read_again"],
    }
    | {sink: [f"{EXPIRED}[{sink}-ExpiredTokenException]"] for sink in AWS},
    "Destination missing": suite(
        "test_a_missing_destination_is_misconfigured",
        "eventbridge",
        kafka_tx=[TX + "test_a_refused_message_does_not_keep_the_others"],
        eventbridge=[
            OTHER_AWS
            + "TestRequests::test_configuration[eventbridge-400-ResourceNotFoundException]"
        ],
    ),
    "Destination changes": {
        "kafka": [
            KAFKA + "test_leaders_that_move_cost_nothing",
            REAL + "test_partitions_that_are_added_are_used_as_java_would",
        ],
        "kafka tx": [TX + "test_partitions_that_are_added_are_told_of"],
        "file": [FILE + "test_a_file_that_is_rotated_is_made_anew[moved]"],
    },
    "Refused for now": {
        "kafka": [
            KAFKA + "test_retriable_errors_are_repeated_without_duplicates",
            KAFKA + "test_one_dead_partition_spends_attempts_while_others_answer",
        ],
        "kafka tx": [TX_FAULTS + "test_retriable_errors_are_repeated_by_the_client"],
        "sqs": [
            SQS + "TestRequests::test_throttled_and_broken_is_tried_again",
            SQS + "TestRequests::test_until_the_deadline",
            SQS + "TestEntries::test_each_by_its_own_result",
        ],
        "webhook": [
            WEBHOOK + "TestEndpoint::test_one_that_asks_to_be_left_alone_is",
            "unit/test_webhook.py::TestAnswers::test_what_each_status_means",
        ],
        "river": [RIVER + "test_bad_rows_hold_no_other_and_say_why"],
        "file": [FILE + "test_another_process_that_holds_the_lock_is_waited_for"],
    }
    | {
        sink: [
            f"{THROTTLED}[{sink}-503-ServiceUnavailable]",
            f"{OTHER_AWS}TestEntries::test_each_by_its_own_result[{sink}]",
        ]
        for sink in AWS
    },
    "Refused for good": suite(
        "test_what_is_too_large_is_refused_alone_and_for_good",
        *("river", "file"),
        kafka_tx=[TX + "test_a_refused_message_does_not_keep_the_others"],
        river=["unit/test_river_sink.py::test_what_can_be_no_job_is_refused_for_good"],
        file=[FILE + "test_with_nothing_to_write_no_file_is_made"],
    ),
    "Some refused": suite(
        "test_threads_do_not_mix_their_outcomes",
        *("river", "file", "kafka"),
        kafka=[KAFKA + "test_what_kafka_cannot_carry_is_permanent_and_the_rest_goes"],
        kafka_tx=[TX + "test_a_refused_message_does_not_keep_the_others"],
        river=[RIVER + "test_bad_rows_hold_no_other_and_say_why"],
        file=[SUITE["file"] + "::test_other_bytes_arrive_as_they_are_or_are_refused"],
    ),
    "No answer": suite(
        "test_a_mute_server_is_ambiguous_and_the_deadline_is_kept[in service]",
        *("river", "file", "webhook"),
        kafka_tx=[
            TX + "test_a_commit_without_an_answer_is_in_doubt_until_the_broker_is_asked[arrives]"
        ],
        webhook=[
            WEBHOOK
            + "TestBrokenAnswers::test_no_answer_is_an_attempt_that_may_have_arrived[nothing]"
        ],
        river=[
            RIVER + "test_a_lost_answer_to_the_commit_is_ambiguous_and_safe_to_repeat",
            RIVER + "test_what_is_cut_off_before_the_commit_costs_no_attempt",
        ],
        file=[FILE + "test_a_line_cut_short_in_a_pipe_is_ended_before_the_next"],
    ),
    "No answer to read": {
        "sqs": [
            SQS + "TestEntries::test_missing_wrong_and_unknown",
            SQS + "TestEntries::test_an_answer_that_is_none",
        ],
        "webhook": [
            WEBHOOK
            + "TestBrokenAnswers::test_no_answer_is_an_attempt_that_may_have_arrived[no HTTP]",
            WEBHOOK
            + "TestBrokenAnswers::test_no_answer_is_an_attempt_that_may_have_arrived[cut head]",
        ],
    }
    | {
        sink: [
            f"{OTHER_AWS}TestEntries::test_an_answer_that_names_not_all[{sink}]",
            f"{OTHER_AWS}TestEntries::test_an_answer_that_is_none[{sink}-<html>]",
        ]
        for sink in AWS
    },
    "Slow": {
        "kafka": [KAFKA + "test_the_deadline_holds_and_late_answers_are_ignored"],
        "kafka tx": [TX_FAULTS + "test_a_slow_broker_is_not_waited_for_beyond_the_deadline"],
        "sqs": [SQS + "TestGroups::test_what_had_no_turn_spends_no_attempt"],
        "webhook": [
            WEBHOOK + "TestEndpoint::test_one_slower_than_the_deadline_gets_the_rest_later"
        ],
        "river": [RIVER + "test_what_was_decided_by_the_deadline_is_told"],
        "file": [FILE + "test_a_line_cut_short_in_a_pipe_is_ended_before_the_next"],
    }
    | aws("TestRequests::test_what_had_no_turn_spends_no_attempt"),
    "Session over": {
        "kafka": [
            KAFKA + "test_what_a_fenced_producer_left_is_sent_by_another",
            KAFKA + "test_a_lost_sequence_is_ambiguous_and_delivery_goes_on",
        ],
        "kafka tx": [TX + "test_what_was_committed_is_known_to_whoever_asks"],
        "sqs": [SQS + "TestRequests::test_a_kept_connection_that_was_closed_is_not_used"],
        "webhook": [
            WEBHOOK + "TestKeptConnections::test_one_that_was_closed_meanwhile_is_not_used"
        ],
        "river": [RIVER + "test_a_connection_that_the_server_ended_is_made_anew"],
        "file": [FILE + "test_a_file_that_is_rotated_is_made_anew[removed]"],
    }
    | aws("TestRequests::test_a_kept_connection_that_was_closed_is_not_used"),
    "Sent again": suite(
        "test_what_is_sent_again_has_the_same_id",
        kafka_tx=[
            TX + "test_what_was_committed_is_known_to_whoever_asks",
            TX + "test_three_processes_that_end_in_the_middle_leave_each_job_once",
        ],
    ),
}

WHATEVER_THE_SINK: Mapping[str, Sequence[str]] = {
    "A job cannot be rendered": [
        "unit/test_delivery.py::test_a_job_that_cannot_be_rendered_holds_no_other",
        "chaos/test_bad_jobs.py::test_a_field_missing_in_one_job_discards_that_one",
    ],
    "A defect in a sink": [
        "unit/test_delivery.py::test_a_sink_that_breaks_its_promise_costs_an_attempt_and_no_thread",
        "chaos/test_bad_jobs.py::test_a_sink_that_raises_spends_attempts_and_stops_nothing",
    ],
    "It answers twice, or late": [
        "unit/test_fan_out.py::test_an_answer_that_comes_twice_is_heard_once",
        "chaos/test_freeze.py::test_jobs_leased_by_a_frozen_process_are_delivered_by_another",
    ],
    "One of several sinks is down": [
        "chaos/test_fan_out.py::test_jobs_wait_parked_for_a_sink_that_is_down_and_come_when_it_is_back",
        "chaos/fanout/test_rate.py::test_healthy_sinks_hardly_notice_a_third_that_fails[down]",
    ],
    "The dead-letter sink is down": [
        "unit/test_dead_letters.py::test_while_the_dead_letter_sink_is_down_the_job_stays_with_its_error",
        "chaos/test_fan_out.py::test_nothing_is_discarded_before_its_dead_letter_is_acknowledged",
    ],
    "A broker is slow under load": [
        "chaos/test_outage.py::test_a_slow_broker_gets_each_job_once",
        "chaos/test_bad_jobs.py::test_large_jobs_do_not_fill_the_memory",
    ],
    "A job of an ordered route fails": [
        "chaos/test_order.py::test_order_is_kept_while_owners_are_killed_and_frozen[short]",
        "chaos/test_order_held.py::test_a_key_that_is_held_back_delays_no_other",
    ],
}

OUTCOMES = {
    "Delivered": "bridge/test_outcomes.py::test_what_an_outcome_leaves_and_says",
    "Retry": "bridge/test_outcomes.py::test_what_an_outcome_leaves_and_says",
    "Permanent": "bridge/test_outcomes.py::test_what_an_outcome_leaves_and_says",
    "Snoozed": "bridge/test_outcomes.py::test_what_an_outcome_leaves_and_says",
    "Unreachable": "bridge/test_outcomes.py::test_what_an_outcome_leaves_and_says",
    "Misconfigured": "bridge/test_outcomes.py::test_what_an_outcome_leaves_and_says",
    "InDoubt": TX + "test_three_processes_that_end_in_the_middle_leave_each_job_once",
}
