"""Webhooks without a server: signatures, requests, addresses, what answers mean, settings."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from riverbridge.bridge.template import Template
from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Delivered, Misconfigured, Permanent, Retry
from riverbridge.settings import load
from riverbridge.sinks.base import Message
from riverbridge.sinks.webhook_address import Forbidden, objection, resolve
from riverbridge.sinks.webhook_answer import LONGEST_WAIT, MAX_TEXT, outcome, wait
from riverbridge.sinks.webhook_http import Answer
from riverbridge.sinks.webhook_message import Origin, Request, prepare, webhook_id
from riverbridge.sinks.webhook_sign import Signer
from tests.support.jobs import job
from tests.unit.settings_cases import CANARY, DSN, ROUTE, read, refused

ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAIR = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
SEED = base64.b64encode(base64.b64decode(PAIR)[:32]).decode()
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
HERE = Origin.of("https://hooks.example.com/x")


class TestSignatures:
    """The vectors are those of the specification's libraries (v1) and of Svix's server (v1a)."""

    def test_the_published_symmetric_signature(self) -> None:
        assert Signer([SECRET]).signatures(ID, AT, BODY) == V1

    @pytest.mark.parametrize("key", [PAIR, SEED], ids=["pair", "seed"])
    def test_the_published_asymmetric_signature(self, key: str) -> None:
        pytest.importorskip("cryptography")
        assert Signer([f"whsk_{key}"]).signatures(ID, AT, BODY) == V1A
        assert Signer([f"whsk_{key}", SECRET]).signatures(ID, AT, BODY) == f"{V1A} {V1}"

    def test_without_secrets_there_is_none(self) -> None:
        assert Signer([]).signatures(ID, AT, BODY) == ""

    @pytest.mark.parametrize("size", [24, 64])
    def test_the_official_library_takes_either_secret_while_one_follows_the_other(
        self, size: int
    ) -> None:
        old, new = (f"whsec_{base64.b64encode(bytes([n]) * size).decode()}" for n in (1, 2))
        at = int(datetime.now(UTC).timestamp())
        headers = {
            "webhook-id": "shop:1",
            "webhook-timestamp": str(at),
            "webhook-signature": Signer([new, old]).signatures("shop:1", at, BODY),
        }
        for secret in (old, new):
            standardwebhooks.Webhook(secret).verify(BODY.decode(), headers)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(SECRET).verify(BODY.decode(), headers)

    @pytest.mark.parametrize(
        ("secret", "why"),
        [
            (SECRET.removeprefix("whsec_"), "neither whsec_"),
            ("whpk_" + SEED, "neither whsec_"),
            (f"whsec_{CANARY}?", "not base64"),
            ("whsec_", "0 bytes; whsec_ takes 24 to 64"),
            ("whsec_" + base64.b64encode(b"x" * 23).decode(), "23 bytes"),
            ("whsec_" + base64.b64encode(b"x" * 65).decode(), "65 bytes"),
            ("whsk_" + base64.b64encode(b"x" * 33).decode(), "33 bytes; whsk_ takes 32, or 64"),
            ("whsk_" + base64.b64encode(b"x" * 64).decode(), "its two halves are no pair"),
        ],
    )
    def test_a_bad_secret_is_refused_and_not_repeated(self, secret: str, why: str) -> None:
        if "pair" in why:
            pytest.importorskip("cryptography")
        with pytest.raises(ConfigurationError, match=why) as caught:
            Signer([SECRET, secret])
        assert "secret 2" in str(caught.value)
        assert secret[6:] == "" or secret[6:] not in str(caught.value)


def request(url: str = "https://hooks.example.com/x", **more: object) -> Request | Permanent:
    message = Message(**{"id": "e:1", "body": b"{}", "destination": url, **more})  # type: ignore[arg-type]
    return prepare(0, message, HERE)


class TestRequests:
    def test_cloudevents_attributes_are_named_and_encoded_as_http_has_them(self) -> None:
        made = request(
            headers=(("ce_id", "a b"), ("ce_type", 'ü"%'), ("content-type", "text/x"), ("X-T", "ü"))
        )
        assert isinstance(made, Request)
        assert made.opening().split("\r\n") == [
            "POST /x HTTP/1.1",
            "Host: hooks.example.com",
            "accept-encoding: identity",
            "content-type: text/x",
            "user-agent: riverbridge",
            "ce-id: a%20b",
            "ce-type: %C3%BC%22%25",
            "x-t: ü",
            "content-length: 2",
            "webhook-id: e:1",
            "",
        ]

    @pytest.mark.parametrize(
        ("headers", "why"),
        [
            ((("x", "a\r\nevil: 1"),), "control character"),
            ((("x", "a\0"),), "control character"),
            ((("ce_type", "a\nb"),), "control character"),
            ((("x\r\nevil", "1"),), "no name"),
            ((("x y", "1"),), "no name"),
            ((("", "1"),), "no name"),
            ((("Content-Length", "5"),), "set by the sink"),
            ((("transfer-encoding", "chunked"),), "set by the sink"),
            ((("Webhook-Signature", "v1,x"),), "set by the sink"),
            ((("proxy-authorization", "x"),), "set by the sink"),
        ],
    )
    def test_no_header_can_bring_others_in(
        self, headers: tuple[tuple[str, str], ...], why: str
    ) -> None:
        made = request(headers=headers)
        assert isinstance(made, Permanent)
        assert why in made.error
        assert "\n" not in made.error

    @pytest.mark.parametrize(
        "url",
        [
            "https://evil.example/x",
            "http://hooks.example.com/x",
            "https://hooks.example.com:444/x",
            "https://hooks.example.com@evil.example/x",
            "https://user@hooks.example.com/x",
            "//hooks.example.com/x",
            "https://hooks.example.com/a/../admin",
            "https://hooks.example.com/a/%2e%2E/admin",
            "https://hooks.example.com/a b",
            "https://hooks.example.com/a\r\nHost: evil",
            "https://hooks.example.com/a#b",
            "",
        ],
    )
    def test_no_url_leads_elsewhere(self, url: str) -> None:
        assert isinstance(request(url), Permanent)

    @given(st.text())
    def test_whatever_a_job_says_stays_in_its_place_in_the_url(self, value: str) -> None:
        from riverbridge.settings.sinks.webhook import WebhookSink

        sink = WebhookSink.model_validate(
            {"type": "webhook", "url": "https://hooks.example.com/a/{args.v}/b?c={args.v}"}
        )
        escape = sink.escape
        assert escape is not None
        made = request(sink.url.replace("{args.v}", escape(value)))
        if value in (".", ".."):
            assert isinstance(made, Permanent)
            return
        assert isinstance(made, Request)
        line = made.head.split("\r\n")[0]
        assert line == f"POST /a/{escape(value)}/b?c={escape(value)} HTTP/1.1"
        assert line.isascii()
        assert line.count(" ") == 2

    def test_a_template_is_escaped_on_its_way(self) -> None:
        template = Template.parse("https://h/{args.x}", lambda value: value.replace("/", "%2F"))
        assert template.render(job(args='{"x": "a/b"}')) == "https://h/a%2Fb"

    def test_ids_have_no_full_stop_and_stay_different(self) -> None:
        assert webhook_id("river/7/app:1") == "river/7/app:1"
        ids = ["a.b:1", "a%2Eb:1", "a b", "a\nb", "ü", "a%2eb:1", "a\udc80"]
        assert len({webhook_id(one) for one in ids}) == len(ids)
        for one in map(webhook_id, ids):
            assert one.isascii()
            assert one.isprintable()
            assert "." not in one
            assert " " not in one


PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
PRIVATE = [
    *("127.0.0.1", "127.255.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("100.64.0.1", "::1", "fd00::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("64:ff9b::a00:1", "64:ff9b::7f00:1"),
]
NEVER = [
    *("169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255"),
    *("255.255.255.255", "240.0.0.1", "192.0.0.192", "198.18.0.1", "203.0.113.1", "192.0.2.1"),
    *("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fe80::1", "fe80::1%1", "ff02::1", "::"),
    *("::127.0.0.1", "fec0::1", "2002:7f00:1::", "2001:db8::1", "2001::1", "64:ff9b:1::1"),
    *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "100::1"),
]


class TestAddresses:
    def test_every_address_is_of_the_internet_private_or_never_a_webhooks(self) -> None:
        def allowed(private: bool) -> list[str]:
            every = PUBLIC + PRIVATE + NEVER
            return [address for address in every if objection(address, private=private) is None]

        assert allowed(private=False) == PUBLIC
        assert allowed(private=True) == PUBLIC + PRIVATE

    @pytest.mark.parametrize(
        "host", ["2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "::1"]
    )
    def test_however_loopback_is_written(self, host: str) -> None:
        with pytest.raises(Forbidden, match=r"private or loopback; .*ALLOW_PRIVATE"):
            resolve(host, 443, private=False)
        assert resolve(host, 443, private=True)

    @pytest.mark.parametrize("host", ["0", "0x0", "2852039166", "0xa9fea9fe", "169.254.43518"])
    def test_however_metadata_and_nowhere_are_written(self, host: str) -> None:
        with pytest.raises(Forbidden, match="never a webhook's"):
            resolve(host, 80, private=True)

    def test_one_forbidden_address_among_others_is_enough(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", resolver("8.8.8.8", "10.0.0.1"))
        with pytest.raises(Forbidden, match=r"hooks has the address 10\.0\.0\.1"):
            resolve("hooks", 443, private=False)
        monkeypatch.setattr(socket, "getaddrinfo", resolver("8.8.8.8", "9.9.9.9"))
        assert [where[0] for _, where in resolve("hooks", 443, private=False)] == [
            "8.8.8.8",
            "9.9.9.9",
        ]


def resolver(*addresses: str) -> Callable[..., object]:
    def getaddrinfo(host: str, port: int, **more: object) -> object:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    return getaddrinfo


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


MEANINGS = [
    ((200, 201, 202, 204, 206), Delivered, Delivered),
    ((300, 301, 302, 303, 304, 307, 308), Misconfigured, Retry),
    ((401, 403, 404, 405, 407), Misconfigured, Retry),
    ((410,), Misconfigured, Permanent),
    ((400, 413, 414, 415, 422, 431), Permanent, Permanent),
    ((402, 406, 408, 409, 418, 421, 423, 425, 429, 451, 499), Retry, Retry),
    ((500, 501, 502, 503, 504, 507, 511, 599, 600, 999), Retry, Retry),
]


class TestAnswers:
    @pytest.mark.parametrize(("statuses", "fixed", "varying"), MEANINGS)
    def test_what_each_status_means(
        self, statuses: tuple[int, ...], fixed: type, varying: type
    ) -> None:
        for status in statuses:
            got = outcome(answer(status), fixed=True, masks=())
            assert type(got) is fixed
            assert type(outcome(answer(status), fixed=False, masks=())) is varying
            if isinstance(got, Retry):
                assert got.ambiguous == (status >= 500)
            if not isinstance(got, Delivered):
                assert f"answered {status}" in got.error  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("30", 30),
            (" 0 ", 0),
            ("9999999999999999", LONGEST_WAIT),
            ("-5", 0),
            ("1.5", 0),
            ("soon", 0),
            ("", 0),
            ("²", 0),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
            ("Fri, 99 Foo 9999", 0),
        ],
    )
    def test_how_long_it_wants_to_be_left_alone(self, text: str, seconds: float) -> None:
        assert wait(answer(429, retry_after=text)) == seconds
        got = outcome(answer(503, retry_after=text), fixed=True, masks=())
        assert got == Retry("answered 503 Service Unavailable", ambiguous=True, after=seconds)

    def test_a_date_is_read_by_the_receivers_own_clock(self) -> None:
        its = datetime(2001, 1, 1, tzinfo=UTC)
        until = format_datetime(its + timedelta(seconds=90), usegmt=True)
        assert wait(answer(429, retry_after=until, date=format_datetime(its, usegmt=True))) == 90
        ours = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        assert 80 < wait(answer(429, retry_after=ours)) <= 90

    @given(st.text(), st.text())
    def test_nothing_it_says_is_an_exception(self, after: str, date: str) -> None:
        assert 0 <= wait(answer(429, retry_after=after, date=date)) <= LONGEST_WAIT

    def test_an_error_says_why_in_one_clean_line_without_secrets(self) -> None:
        body = f"no\r\n\x1b[31m{SECRET}\x00\u202e \xff".encode() + b"\xff" + b"y" * 5000
        got = outcome(answer(400, body), fixed=True, masks=[SECRET])
        assert isinstance(got, Permanent)
        assert got.error.startswith("answered 400 Bad Request: no [31m*** ")
        assert got.error.isprintable()
        assert len(got.error) < MAX_TEXT + 100

    def test_a_redirect_says_where_to(self) -> None:
        got = outcome(answer(308, location="https://new.example/x"), fixed=True, masks=())
        assert isinstance(got, Misconfigured)
        assert "redirects are not followed" in got.error
        assert "https://new.example/x" in got.error


W = "RIVERBRIDGE_SINKS__HOOK__"
WEBHOOK = {W + "TYPE": "webhook", W + "URL": "https://hooks.example.com/orders"}


class TestSettings:
    def test_what_is_enough(self) -> None:
        settings = read({**WEBHOOK, **ROUTE})
        assert settings.sinks["hook"].destination == ("url", "https://hooks.example.com/orders")

    def test_secrets_are_in_no_output(self) -> None:
        other = "whsec_" + base64.b64encode(CANARY.encode() * 3).decode()
        settings = read({**WEBHOOK, W + "SECRETS": f"{SECRET},{other}"})
        shown = {line.variable: line.value for line in settings.describe()}
        assert shown[W + "SECRETS"] == "***,***"
        for text in (repr(settings), str(settings), str(settings.describe())):
            assert other[6:] not in text
            assert SECRET[6:] not in text

    @pytest.mark.parametrize(
        ("name", "value", "why"),
        [
            ("URL", "ftp://h/x", "must start with https://"),
            ("URL", "https://{args.host}/x", "only in the path and the query"),
            ("URL", "https://{args.tenant}.example.com/x", "only in the path and the query"),
            ("URL", "https://example.com{args.port}/x", "only in the path and the query"),
            ("URL", "https://user:pass@example.com/x", "user or password"),
            ("URL", "https://example.com/x#y", "fragment"),
            ("URL", "https://example.com/x}y", "brace"),
            ("URL", "https://exämple.com/x", "ASCII"),
            ("URL", "http://hooks.example.com/x", "unencrypted"),
            ("URL", "https://localhost/x", "ALLOW_PRIVATE"),
            ("URL", "https://[::1]:8443/x", "ALLOW_PRIVATE"),
            ("HEADERS", '{"Content-Length":"5"}', "content-length is set by the sink"),
            ("HEADERS", '{"a b":"5"}', "no name of an HTTP header"),
            ("SECRETS", f"{SECRET},{CANARY}", "item 2 of the list: starts with neither"),
            ("SECRETS", f"{SECRET},{SECRET}", "twice"),
            ("THREADS", "0", "outside of the limits"),
        ],
    )
    def test_what_cannot_work_is_said(self, name: str, value: str, why: str) -> None:
        (problem,) = refused({**WEBHOOK, W + name: value})
        assert problem.startswith(W + name)
        assert why in problem
        assert CANARY not in problem

    def test_a_file_of_secrets_that_anybody_may_read_is_warned_of(self, tmp_path: Path) -> None:
        toml = tmp_path / "riverbridge.toml"
        toml.write_text(
            '[sinks.hook]\ntype = "webhook"\nurl = "https://hooks.example.com/x"\n'
            f'secrets = ["{SECRET}"]\n'
        )
        toml.chmod(0o644)
        (warning,) = load({"DATABASE_URL": DSN}, None, toml).warnings
        assert "holds a secret" in warning
        assert SECRET not in warning

    def test_http_and_this_machine_for_those_who_mean_it(self) -> None:
        read({**WEBHOOK, W + "URL": "http://127.0.0.1:8000/x", W + "ALLOW_PRIVATE": "true"})
        read({**WEBHOOK, W + "URL": "http://hooks.example.com/x", W + "INSECURE": "true"})

    def test_an_unreadable_ca_file_is_wrong_configuration(self) -> None:
        settings = read({**WEBHOOK, W + "CA_FILE": "/no/such.pem"})
        with pytest.raises(ConfigurationError, match=r"/no/such\.pem cannot be read"):
            settings.sinks["hook"].open("hook")
