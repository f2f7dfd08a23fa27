"""Signatures of webhooks that come in: what is published verifies, and nothing forged does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import product

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from riverbridge.sinks.webhook_sign import Signer
from riverbridge.sources.webhook_schemes import (
    Standard,
    Stripe,
    Unsigned,
    github,
    shopify,
    slack,
)
from riverbridge.sources.webhook_verify import Headers, Hmac, Refusal, Verified, Verifier
from tests.support import signed
from tests.support.signed import SECRET, WHSEC, raw

NOW = 1_700_000_000
KEY = SECRET.encode()
BODY = b'{"id": "evt_1", "event_id": "Ev1", "n": 1}'
DIGEST = "sha256:" + hashlib.sha256(BODY).hexdigest()

# Standard Webhooks: of the specification's libraries (v1) and of Svix's server (v1a).
ID, AT, TEST = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
PAIR = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
WHPK = "whpk_" + base64.b64encode(base64.b64decode(PAIR)[32:]).decode()

# api.slack.com/authentication/verifying-requests-from-slack
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
    b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def published(signature: str) -> list[tuple[bytes, bytes]]:
    return raw({"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": signature})


def verify(
    verifier: Verifier, headers: Mapping[str, str], body: bytes = BODY, now: float = NOW
) -> Verified:
    return verifier.verify(Headers(raw(headers)), body, now)


class TestPublished:
    def test_standard_webhooks(self) -> None:
        assert Standard([WHSEC]).verify(Headers(published(V1)), TEST, AT).id == ID

    def test_standard_webhooks_asymmetric(self) -> None:
        pytest.importorskip("cryptography")
        assert Standard([WHPK]).verify(Headers(published(V1A)), TEST, AT).id == ID
        assert Standard([WHSEC, WHPK]).verify(Headers(published(f"v2,x {V1A}")), TEST, AT).id == ID

    def test_github(self) -> None:
        # docs.github.com, Validating webhook deliveries: "Testing the webhook payload validation".
        value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        headers = {"x-hub-signature-256": value, "x-github-delivery": "72d3162e-cc78"}
        found = verify(github([b"It's a Secret to Everybody"]), headers, b"Hello, World!")
        assert found == Verified("72d3162e-cc78")

    def test_slack(self) -> None:
        headers = {
            "x-slack-request-timestamp": "1531420618",
            "x-slack-signature": SLACK_SIGNATURE,
        }
        verifier = slack([b"8f742231b10e8888abcd99yyyzzz85a5"])
        found = verify(verifier, headers, SLACK_BODY, 1531420618)
        assert found.id == "sha256:" + hashlib.sha256(SLACK_BODY).hexdigest()

    def test_hmac_of_a_known_answer(self) -> None:
        # RFC 4231, test case 2, both algorithms.
        key, body = b"Jefe", b"what do ya want for nothing?"
        for algorithm, wanted in (
            ("sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                "sha512",
                (
                    "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                    "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
                ),
            ),
        ):
            verifier = Hmac([key], "x-s", algorithm=algorithm)  # type: ignore[arg-type]
            assert verify(verifier, {"x-s": wanted.upper()}, body)
            text = base64.b64encode(bytes.fromhex(wanted)).decode()
            verifier = Hmac([key], "x-s", algorithm=algorithm, encoding="base64")  # type: ignore[arg-type]
            assert verify(verifier, {"x-s": text}, body)


class TestKnownBy:
    """What an event is known again by."""

    @pytest.mark.parametrize(
        ("verifier", "headers", "id_"),
        [
            (Standard([WHSEC]), signed.standard(BODY, "m1", at=NOW), "m1"),
            (github([KEY]), signed.github(BODY, "d1"), "d1"),
            (Stripe([KEY]), signed.stripe(BODY, at=NOW), "evt_1"),
            (slack([KEY]), signed.slack(BODY, at=NOW), "Ev1"),
            (shopify([KEY]), signed.shopify(BODY, "w1"), "w1"),
            (Unsigned(), {}, DIGEST),
            (Unsigned("x-id"), {"x-id": "u1"}, "u1"),
        ],
        ids=["standard", "github", "stripe", "slack", "shopify", "none", "none with an id"],
    )
    def test_ids(self, verifier: Verifier, headers: dict[str, str], id_: str) -> None:
        assert verify(verifier, headers) == Verified(id_)

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"id": 7}', b'{"id": ""}', b'{"id": "a b"}'])
    def test_a_body_without_an_id_by_its_digest(self, body: bytes) -> None:
        found = verify(Stripe([KEY]), signed.stripe(body, at=NOW), body)
        assert found.id == "sha256:" + hashlib.sha256(body).hexdigest()

    def test_greetings_are_no_events(self) -> None:
        body = b'{"type": "url_verification", "challenge": "3eZbrw1aB"}'
        assert verify(slack([KEY]), signed.slack(body, at=NOW), body).greeting == "3eZbrw1aB"
        headers = signed.github(BODY, "d1", event="ping")
        assert verify(github([KEY]), headers).greeting == "pong"


class TestRotation:
    def test_either_secret_is_good_while_one_follows_the_other(self) -> None:
        new = "whsec_" + base64.b64encode(b"n" * 24).decode()
        verifier = Standard([new, WHSEC])
        for secret in (new, WHSEC):
            assert verify(verifier, signed.standard(BODY, "m", secret=secret, at=NOW))
        both = Hmac([b"old" * 10, KEY], "x-s")
        for key in (b"old" * 10, KEY):
            assert verify(both, {"x-s": hmac.digest(key, BODY, "sha256").hex()})

    def test_what_our_own_sink_and_the_official_library_sign(self) -> None:
        headers = {"webhook-id": "m", "webhook-timestamp": str(NOW)}
        ours = Signer([WHSEC]).signatures("m", NOW, BODY)
        assert verify(Standard([WHSEC]), headers | {"webhook-signature": ours})
        theirs = standardwebhooks.Webhook(WHSEC).sign(
            "m", datetime.fromtimestamp(NOW, UTC), BODY.decode()
        )
        assert verify(Standard([WHSEC]), headers | {"webhook-signature": theirs})

    def test_stripe_sends_several_signatures(self) -> None:
        good = signed.stripe(BODY, at=NOW)["stripe-signature"].split("v1=")[1]
        value = f"t={NOW},v0={'0' * 64},v1={'0' * 64},v1={good}"
        assert verify(Stripe([KEY]), {"stripe-signature": value})


GENERIC = Hmac(
    [KEY], "x-s", prefix="sig:", signed="{id}|{timestamp}|{body}", timestamp_header="x-t",
    id_header="x-id",
)  # fmt: skip


def generic() -> dict[str, str]:
    text = hmac.digest(KEY, b"i|%d|" % NOW + BODY, "sha256").hex()
    return {"x-s": f"sig:{text}", "x-t": str(NOW), "x-id": "i"}


GOOD: dict[str, tuple[Verifier, dict[str, str]]] = {
    "standard": (Standard([WHSEC]), signed.standard(BODY, "m1", at=NOW)),
    "github": (github([KEY]), signed.github(BODY, "d1")),
    "stripe": (Stripe([KEY]), signed.stripe(BODY, at=NOW)),
    "slack": (slack([KEY]), signed.slack(BODY, at=NOW)),
    "shopify": (shopify([KEY]), signed.shopify(BODY, "w1")),
    "hmac": (GENERIC, generic()),
}
SIGNATURE = {
    "standard": "webhook-signature",
    "github": "x-hub-signature-256",
    "stripe": "stripe-signature",
    "slack": "x-slack-signature",
    "shopify": "x-shopify-hmac-sha256",
    "hmac": "x-s",
}
_GOOD = signed.standard(BODY, "m1", at=NOW)["webhook-signature"]
_HEX = signed.github(BODY, "d1")["x-hub-signature-256"]
_STRIPE = signed.stripe(BODY, at=NOW)["stripe-signature"]
_SLACK = signed.slack(BODY, at=NOW)["x-slack-signature"]
_SHA1 = hmac.new(KEY, BODY, "sha1").hexdigest()

# Each changes the signature's header of a good request.
EVERY: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "a space": lambda _: " ",
    "its end is missing": lambda value: value[:-1],
    "its beginning is missing": lambda value: value[1:],
    "twice as long": lambda value: value + value,
    "a letter more": lambda value: value + "0",
    "another letter": lambda value: value[:-3] + ("11" if value[-3] == "0" else "00") + value[-1],
    "not ASCII": lambda value: "é" + value,
    "quoted": lambda value: f'"{value}"',
    "a null byte": lambda value: value + "\0",
    "spaces around": lambda value: f"  {value}  ",
    "only letters": lambda _: "signature",
}  # fmt: skip

# Spaces are what separates the signatures of Standard Webhooks, and commas Stripe's.
NOT_DAMAGED = {("standard", "spaces around"), ("stripe", "twice as long")}

# Others: scheme, headers that take the place of a good request's (None: none), and the body.
FORGED: list[tuple[str, str, dict[str, str | None], bytes]] = [
    *[(scheme, "no signature", dict[str, str | None]({SIGNATURE[scheme]: None}), BODY)
      for scheme in GOOD],
    *((scheme, "a space more in the body", {}, BODY + b" ") for scheme in GOOD),
    *((scheme, "a byte of the body", {}, BODY.replace(b"1", b"2", 1)) for scheme in GOOD),
    *((scheme, "no body", {}, b"") for scheme in GOOD),
    ("standard", "another secret", dict(signed.standard(BODY, "m1", at=NOW,
        secret="whsec_" + base64.b64encode(b"x" * 24).decode())), BODY),
    ("standard", "another id", {"webhook-id": "m2"}, BODY),
    ("standard", "no id", {"webhook-id": None}, BODY),
    ("standard", "an empty id", {"webhook-id": ""}, BODY),
    ("standard", "an id with a full stop", dict(signed.standard(BODY, "m.1", at=NOW)), BODY),
    ("standard", "an id that takes the timestamp", {"webhook-id": f"m1.{NOW}"}, BODY),
    ("standard", "an id that is too long", dict(signed.standard(BODY, "m" * 256, at=NOW)), BODY),
    ("standard", "another timestamp", {"webhook-timestamp": str(NOW + 1)}, BODY),
    ("standard", "no timestamp", {"webhook-timestamp": None}, BODY),
    ("standard", "a timestamp in words", {"webhook-timestamp": "now"}, BODY),
    ("standard", "a timestamp in other digits", {"webhook-timestamp": "¹700000000"}, BODY),
    ("standard", "a negative timestamp", {"webhook-timestamp": f"-{NOW}"}, BODY),
    ("standard", "a fraction", {"webhook-timestamp": f"{NOW}.0"}, BODY),
    ("standard", "milliseconds", dict(signed.standard(BODY, "m1", at=NOW * 1000)), BODY),
    ("standard", "a timestamp beyond all numbers", {"webhook-timestamp": "9" * 400}, BODY),
    ("standard", "too old", dict(signed.standard(BODY, "m1", at=NOW - 301)), BODY),
    ("standard", "of the future", dict(signed.standard(BODY, "m1", at=NOW + 301)), BODY),
    ("standard", "v1 without a signature", {"webhook-signature": "v1,"}, BODY),
    ("standard", "v1 without a comma", {"webhook-signature": _GOOD.replace(",", "")}, BODY),
    ("standard", "another version", {"webhook-signature": _GOOD.replace("v1", "v2")}, BODY),
    ("standard", "v1a with an HMAC secret", {
        "webhook-signature": _GOOD.replace("v1", "v1a")}, BODY),
    ("standard", "a version in capitals", {"webhook-signature": _GOOD.replace("v1", "V1")}, BODY),
    ("standard", "no version", {"webhook-signature": _GOOD[3:]}, BODY),
    ("standard", "in hex", {"webhook-signature": "v1," + base64.b64decode(_GOOD[3:]).hex()}, BODY),
    ("standard", "with commas between", {"webhook-signature": f"v1,AAAA,{_GOOD}"}, BODY),
    ("standard", "behind sixteen others", {"webhook-signature": "v1,AAAA " * 16 + _GOOD}, BODY),
    ("github", "another secret", dict(signed.github(BODY, "d1", secret="x" * 24)), BODY),
    ("github", "SHA-1", {"x-hub-signature-256": f"sha1={_SHA1}"}, BODY),
    ("github", "SHA-1 in the old header", {
        "x-hub-signature-256": None, "x-hub-signature": f"sha1={_SHA1}"}, BODY),
    ("github", "SHA-1 under the name of SHA-256", {"x-hub-signature-256": f"sha256={_SHA1}"}, BODY),
    ("github", "without its prefix", {"x-hub-signature-256": _HEX[7:]}, BODY),
    ("github", "a prefix in capitals", {"x-hub-signature-256": f"SHA256={_HEX[7:]}"}, BODY),
    ("github", "no delivery id", {"x-github-delivery": None}, BODY),
    ("github", "a delivery id with a space", {"x-github-delivery": "a b"}, BODY),
    ("stripe", "another secret", dict(signed.stripe(BODY, secret="x" * 24, at=NOW)), BODY),
    ("stripe", "too old", dict(signed.stripe(BODY, at=NOW - 301)), BODY),
    ("stripe", "of the future", dict(signed.stripe(BODY, at=NOW + 301)), BODY),
    ("stripe", "another timestamp", {
        "stripe-signature": _STRIPE.replace(str(NOW), str(NOW + 1))}, BODY),
    ("stripe", "two timestamps", {"stripe-signature": f"t={NOW + 1},{_STRIPE}"}, BODY),
    ("stripe", "no timestamp", {"stripe-signature": _STRIPE.partition(",")[2]}, BODY),
    ("stripe", "v0, which is no signature", {
        "stripe-signature": _STRIPE.replace("v1", "v0")}, BODY),
    ("stripe", "spaces between", {"stripe-signature": _STRIPE.replace(",", ", ")}, BODY),
    ("slack", "another secret", dict(signed.slack(BODY, secret="x" * 24, at=NOW)), BODY),
    ("slack", "too old", dict(signed.slack(BODY, at=NOW - 301)), BODY),
    ("slack", "of the future", dict(signed.slack(BODY, at=NOW + 301)), BODY),
    ("slack", "no timestamp", {"x-slack-request-timestamp": None}, BODY),
    ("slack", "another timestamp", {"x-slack-request-timestamp": str(NOW - 1)}, BODY),
    ("slack", "v1", {"x-slack-signature": _SLACK.replace("v0", "v1")}, BODY),
    ("shopify", "another secret", dict(signed.shopify(BODY, "w1", secret="x" * 24)), BODY),
    ("shopify", "in hex", {
        "x-shopify-hmac-sha256": hmac.digest(KEY, BODY, "sha256").hex()}, BODY),
    ("shopify", "no id", {"x-shopify-webhook-id": None}, BODY),
    ("hmac", "another id, which is signed", {"x-id": "j"}, BODY),
    ("hmac", "another timestamp", {"x-t": str(NOW - 1)}, BODY),
]  # fmt: skip


class TestForged:
    @pytest.mark.parametrize("scheme", GOOD)
    def test_the_good_one_verifies(self, scheme: str) -> None:
        assert verify(*GOOD[scheme])

    @pytest.mark.parametrize(
        ("scheme", "how"),
        sorted({*product(GOOD, EVERY)} - NOT_DAMAGED),
    )
    def test_a_damaged_signature(self, scheme: str, how: str) -> None:
        verifier, headers = GOOD[scheme]
        name = SIGNATURE[scheme]
        with pytest.raises(Refusal):
            verify(verifier, headers | {name: EVERY[how](headers[name])})

    @pytest.mark.parametrize(
        ("scheme", "changed", "body"),
        [(scheme, changed, body) for scheme, _, changed, body in FORGED],
        ids=[f"{scheme}: {how}" for scheme, how, _, _ in FORGED],
    )
    def test_a_forged_request(
        self, scheme: str, changed: dict[str, str | None], body: bytes
    ) -> None:
        verifier, headers = GOOD[scheme]
        made = {**headers, **changed}
        with pytest.raises(Refusal):
            verify(verifier, {n: v for n, v in made.items() if v is not None}, body)

    @pytest.mark.parametrize("scheme", GOOD)
    def test_a_header_that_comes_twice(self, scheme: str) -> None:
        verifier, headers = GOOD[scheme]
        twice = [*raw(headers), (SIGNATURE[scheme].encode(), b"x")]
        for order in (twice, twice[::-1]):
            with pytest.raises(Refusal, match="2 times"):
                verifier.verify(Headers(order), BODY, NOW)

    def test_an_asymmetric_key_verifies_nothing_symmetric(self) -> None:
        pytest.importorskip("cryptography")
        verifier = Standard([WHPK])
        key = WHPK.removeprefix("whpk_")
        made = signed.standard(TEST, ID, secret=f"whsec_{key}", at=AT)["webhook-signature"]
        for value in (V1, made, made.replace("v1", "v1a"), V1A[:-4], V1A.replace("v1a", "v1")):
            with pytest.raises(Refusal):
                verifier.verify(Headers(published(value)), TEST, AT)

    @given(st.binary(max_size=80).map(lambda b: b.decode("latin-1")))
    def test_anything_for_a_signature(self, value: str) -> None:
        for scheme, (verifier, headers) in GOOD.items():
            with pytest.raises(Refusal):
                verify(verifier, headers | {SIGNATURE[scheme]: value})


@pytest.mark.parametrize("off", [-300, 0, 300])
def test_five_minutes_are_tolerated_both_ways(off: int) -> None:
    headers = signed.standard(BODY, "m1", at=NOW + off)
    assert verify(Standard([WHSEC]), headers, now=NOW + 0.9)


def test_a_refusal_tells_the_log_why_and_no_secret() -> None:
    verifier, headers = GOOD["standard"]
    late = signed.standard(BODY, "m1", at=NOW - 400)
    with pytest.raises(Refusal, match=r"-400 s off; 300 s are tolerated"):
        verify(verifier, late)
    with pytest.raises(Refusal) as refused:
        verify(verifier, headers, b"other")
    assert _GOOD not in str(refused.value)
    assert WHSEC not in repr(verifier)
    assert SECRET not in repr(GENERIC)


@pytest.mark.parametrize(
    ("signed_", "timestamp", "id_", "why"),
    [
        ("{id}", None, "x-id", "must have {body} once"),
        ("{body}{body}", None, None, "must have {body} once"),
        ("{body}{x}", None, None, "no other brace"),
        ("{timestamp}{body}", None, None, "no TIMESTAMP_HEADER is set"),
        ("{body}", "x-t", None, "proves nothing"),
        ("{id}{body}", None, None, "no ID_HEADER is set"),
    ],
)
def test_what_could_not_be_verified_is_refused_at_once(
    signed_: str, timestamp: str | None, id_: str | None, why: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        Hmac([KEY], "x-s", signed=signed_, timestamp_header=timestamp, id_header=id_)
