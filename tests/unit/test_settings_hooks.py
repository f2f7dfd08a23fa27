"""The settings of webhook sources: what is required, what contradicts, and where they listen."""

from __future__ import annotations

import pytest

from riverbridge.service.receiving import make_doors
from riverbridge.settings.sources import WebhookSource
from riverbridge.sources.webhook_verify import Hmac
from tests.support.signed import WHSEC
from tests.unit.settings_cases import CANARY, KAFKA, read, refused

S = "RIVERBRIDGE_SOURCES__S__"
SECRET = f"{CANARY}-of-24-bytes-or-more"
GIVEN = {S + "TYPE": "webhook", S + "KIND": "k1", S + "VERIFY": "standard", S + "SECRETS": WHSEC}
HMAC = GIVEN | {
    S + "VERIFY": "hmac",
    S + "SECRETS": SECRET,
    S + "SIGNATURE_HEADER": "X-Sig",
}


def without(env: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in env.items() if key != S + name}


def test_every_way_to_verify_can_be_set() -> None:
    for verify in ("github", "stripe", "slack", "shopify"):
        env = GIVEN | {S + "VERIFY": verify, S + "SECRETS": SECRET}
        assert list(make_doors(read(env))) == ["s"]
    assert list(make_doors(read(GIVEN))) == ["s"]
    assert list(make_doors(read(without(GIVEN, "SECRETS") | {S + "VERIFY": "none"}))) == ["s"]
    source = read(
        HMAC
        | {S + "ALGORITHM": "sha512", S + "TIMESTAMP_HEADER": "X-At", S + "TOLERANCE": "1m"}
        | {S + "SIGNED": "{timestamp}.{body}"}
    ).sources["s"]
    assert isinstance(source, WebhookSource)
    verifier = source.verifier()
    assert isinstance(verifier, Hmac)
    assert (verifier.header, verifier.algorithm) == ("x-sig", "sha512")
    assert (verifier.timestamp_header, verifier.tolerance) == ("x-at", 60.0)


@pytest.mark.parametrize(
    ("given", "name", "why"),
    [
        (without(GIVEN, "VERIFY"), "VERIFY", "not set, and it is required"),
        (without(GIVEN, "SECRETS"), "SECRETS", "not set, and it is required"),
        (GIVEN | {S + "VERIFY": "none"}, "SECRETS", "has no effect with VERIFY=none"),
        (GIVEN | {S + "SECRETS": "short"}, "SECRETS", "item 1 of the list: has 5 bytes"),
        (GIVEN | {S + "SECRETS": SECRET}, "SECRETS", "neither whsec_ (HMAC-SHA256) nor whpk_"),
        (GIVEN | {S + "SECRETS": "whsec_AAAAAAAAAAAAAAAAAAAAAAAA"}, "SECRETS", "has 18 bytes"),
        (GIVEN | {S + "SECRETS": "whpk_" + "A" * 40}, "SECRETS", "has 30 bytes; whpk_ takes 32"),
        (GIVEN | {S + "SECRETS": f"{WHSEC},{WHSEC}"}, "SECRETS", "twice"),
        (GIVEN | {S + "TOLERANCE": "1h"}, "TOLERANCE", "above the limit"),
        (GIVEN | {S + "ID_HEADER": "X-Id"}, "ID_HEADER", "has no effect with VERIFY=standard"),
        (GIVEN | {S + "PREFIX": "v0="}, "PREFIX", "has no effect with VERIFY=standard"),
        (HMAC | {S + "TOLERANCE": "1m"}, "TOLERANCE", "and no TIMESTAMP_HEADER"),
        (without(HMAC, "SIGNATURE_HEADER"), "SIGNATURE_HEADER", "VERIFY=hmac requires it"),
        (HMAC | {S + "SIGNATURE_HEADER": "a b"}, "SIGNATURE_HEADER", "is no name of a header"),
        (HMAC | {S + "SIGNED": "{timestamp}"}, "SIGNED", "must have {body} once"),
        (HMAC | {S + "TIMESTAMP_HEADER": "X-At"}, "SIGNED", "one that is not signed"),
        (GIVEN | {S + "REMEMBER": "0"}, "REMEMBER", "without the inbox"),
        (GIVEN | {S + "TOPICS": "t"}, "TOPICS", "has no meaning for this type of source"),
    ],
)
def test_what_cannot_work_is_said(given: dict[str, str], name: str, why: str) -> None:
    [problem] = refused(given)
    assert problem.startswith(f"{S}{name}: ")
    assert why in problem
    assert CANARY not in problem


def test_secrets_are_shown_nowhere() -> None:
    settings = read(HMAC)
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings.describe())


def test_what_is_not_verified_may_come_from_this_machine_only() -> None:
    env = without(GIVEN, "SECRETS") | {S + "VERIFY": "none"}
    elsewhere = {"RIVERBRIDGE_HOOKS__HOST": "0.0.0.0", "RIVERBRIDGE_HOOKS__PORT": "8081"}
    assert read(GIVEN | elsewhere).hooks.port == 8081
    [problem] = refused(env | elsewhere)
    assert problem.startswith("RIVERBRIDGE_HOOKS__HOST: is not loopback, but source s verifies")


def test_webhooks_listen_where_http_does_unless_set() -> None:
    settings = read(GIVEN | {"RIVERBRIDGE_HTTP__PORT": "9000"})
    assert (settings.hooks.host, settings.hooks.port) == ("127.0.0.1", 9000)
    overlapping = {"RIVERBRIDGE_HOOKS__HOST": "0.0.0.0"}
    [problem] = refused(GIVEN | overlapping)
    assert problem.startswith("RIVERBRIDGE_HOOKS__PORT: 8080 is also the port of")
    assert read(KAFKA | overlapping).hooks.host == "0.0.0.0"  # nothing listens there
