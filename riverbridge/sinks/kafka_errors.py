"""What an error of librdkafka or of a broker says about one message.

The numbers are those of the Kafka protocol (positive, the broker's) and of librdkafka (negative,
the client's own).
"""

from __future__ import annotations

from enum import Enum

from confluent_kafka import KafkaError

from riverbridge.model.outcome import Misconfigured, Permanent, Retry, Unreachable

Failure = Permanent | Misconfigured | Retry | Unreachable


class Meaning(Enum):
    """What an error code says about the message it was given for."""

    PERMANENT = "the message will never be taken"
    MISCONFIGURED = "nothing will be taken until somebody changes something"
    RETRY = "refused for now; not written"
    RETRY_AMBIGUOUS = "refused for now; perhaps written"
    SILENT = "no answer; perhaps written"
    UNSENT = "dropped before it was sent"
    FATAL = "this producer is finished; perhaps written"


_E = KafkaError

_GROUPS: dict[Meaning, tuple[int, ...]] = {
    # The record itself: too large, malformed, or for a topic that no broker may have.
    Meaning.PERMANENT: (
        _E.INVALID_MSG_SIZE,
        _E.MSG_SIZE_TOO_LARGE,
        _E.TOPIC_EXCEPTION,
        _E.RECORD_LIST_TOO_LARGE,
        _E.INVALID_TIMESTAMP,
        _E.INVALID_RECORD,
        _E._BAD_MSG,
        _E._INVALID_ARG,
    ),
    # Credentials, rights, a topic that is not there, or a cluster and settings that do not fit.
    Meaning.MISCONFIGURED: (
        _E.UNKNOWN_TOPIC_OR_PART,
        _E.UNKNOWN_TOPIC_ID,
        _E.INVALID_REQUIRED_ACKS,
        _E.TOPIC_AUTHORIZATION_FAILED,
        _E.GROUP_AUTHORIZATION_FAILED,
        _E.CLUSTER_AUTHORIZATION_FAILED,
        _E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        _E.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
        _E.DELEGATION_TOKEN_AUTH_DISABLED,
        _E.DELEGATION_TOKEN_NOT_FOUND,
        _E.DELEGATION_TOKEN_OWNER_MISMATCH,
        _E.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED,
        _E.DELEGATION_TOKEN_EXPIRED,
        _E.UNSUPPORTED_SASL_MECHANISM,
        _E.ILLEGAL_SASL_STATE,
        _E.SASL_AUTHENTICATION_FAILED,
        _E.SECURITY_DISABLED,
        _E.UNACCEPTABLE_CREDENTIAL,
        _E.PRINCIPAL_DESERIALIZATION_FAILURE,
        _E.UNSUPPORTED_VERSION,
        _E.INVALID_CONFIG,
        _E.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        _E.UNSUPPORTED_COMPRESSION_TYPE,
        _E.POLICY_VIOLATION,
        _E._UNKNOWN_TOPIC,
        _E._AUTHENTICATION,
        _E._SSL,
        _E._UNSUPPORTED_FEATURE,
        _E._NOT_CONFIGURED,
        _E._NOT_IMPLEMENTED,
        # Of transactions: `offset.metadata.max.bytes` and `transaction.max.timeout.ms` too small.
        _E.OFFSET_METADATA_TOO_LARGE,
        _E.INVALID_TRANSACTION_TIMEOUT,
    ),
    # The broker answered that it cannot take it now; librdkafka repeats most of these itself.
    Meaning.RETRY: (
        _E.UNKNOWN,
        _E.INVALID_MSG,
        _E.LEADER_NOT_AVAILABLE,
        _E.NOT_LEADER_FOR_PARTITION,
        _E.BROKER_NOT_AVAILABLE,
        _E.REPLICA_NOT_AVAILABLE,
        _E.COORDINATOR_LOAD_IN_PROGRESS,
        _E.COORDINATOR_NOT_AVAILABLE,
        _E.NOT_COORDINATOR,
        _E.NOT_ENOUGH_REPLICAS,
        _E.NOT_CONTROLLER,
        _E.KAFKA_STORAGE_ERROR,
        _E.LOG_DIR_NOT_FOUND,
        _E.FENCED_LEADER_EPOCH,
        _E.UNKNOWN_LEADER_EPOCH,
        _E.OFFSET_NOT_AVAILABLE,
        _E.PREFERRED_LEADER_NOT_AVAILABLE,
        _E.THROTTLING_QUOTA_EXCEEDED,
        _E.CONCURRENT_TRANSACTIONS,
        _E._INVALID_DIFFERENT_RECORD,
        _E._UNKNOWN_PARTITION,
        _E._BAD_COMPRESSION,
        _E._QUEUE_FULL,
        _E._RETRY,
    ),
    # The leader may have written it before it gave up.
    Meaning.RETRY_AMBIGUOUS: (
        _E.REQUEST_TIMED_OUT,
        _E.NETWORK_EXCEPTION,
        _E.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        _E._FAIL,
    ),
    # Nobody said anything: the connection, the name, the whole cluster or only this partition.
    Meaning.SILENT: (
        _E._TRANSPORT,
        _E._RESOLVE,
        _E._ALL_BROKERS_DOWN,
        _E._MSG_TIMED_OUT,
        _E._TIMED_OUT,
        _E._TIMED_OUT_QUEUE,
        _E._NODE_UPDATE,
        _E._DESTROY,
        _E._DESTROY_BROKER,
        _E._PURGE_INFLIGHT,
    ),
    # Taken back from the client's own queue.
    Meaning.UNSENT: (_E._PURGE_QUEUE,),
    # The idempotent producer lost its place or its identity: only a new one may go on.
    Meaning.FATAL: (
        _E.OUT_OF_ORDER_SEQUENCE_NUMBER,
        _E.INVALID_PRODUCER_EPOCH,
        _E.INVALID_PRODUCER_ID_MAPPING,
        _E.UNKNOWN_PRODUCER_ID,
        _E.PRODUCER_FENCED,
        _E._FATAL,
        _E._FENCED,
        _E._GAPLESS_GUARANTEE,
        _E._INCONSISTENT,
        _E._STATE,
    ),
}

_TABLE: dict[int, Meaning] = {code: m for m, codes in _GROUPS.items() for code in codes}

JUDGED_BY_BATCH = frozenset(
    {
        _E.INVALID_MSG_SIZE,
        _E.MSG_SIZE_TOO_LARGE,
        _E.RECORD_LIST_TOO_LARGE,
        _E.INVALID_TIMESTAMP,
        _E.INVALID_RECORD,
        _E._INVALID_DIFFERENT_RECORD,
    }
)
"""Brokers give these for a whole record batch, so they say little about one message in it: a topic
that takes 100 kB refuses a batch of a thousand small records as too large. Only the answer to
a message that travelled alone counts."""


def classify(code: int) -> Meaning:
    """What `code` says of its message. One that is not in the table is to be tried again."""
    return _TABLE.get(code, Meaning.RETRY)


def outcome_of(
    meaning: Meaning, text: str, *, answering: bool, fault: str | None = None
) -> Failure:
    """The outcome of a message that was not delivered.

    answering: the brokers acknowledged something of this producer lately. If they did not, silence
    says nothing about the message: it is released, so that an outage spends no attempt.
    fault: credentials or certificates that were refused since the last acknowledgement.
    """
    match meaning:
        case Meaning.PERMANENT:
            return Permanent(text)
        case Meaning.MISCONFIGURED:
            return Misconfigured(text)
        case Meaning.RETRY:
            return Retry(text)
        case Meaning.RETRY_AMBIGUOUS | Meaning.FATAL:
            return Retry(text, ambiguous=True)
        case Meaning.SILENT if answering:
            return Retry(text, ambiguous=True)
        case Meaning.SILENT | Meaning.UNSENT:
            return Unreachable(text) if fault is None else Misconfigured(fault)
