"""Bodies that lie elsewhere: only from where it is allowed, and no larger than is allowed."""

from __future__ import annotations

import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from riverbridge.embedded.sqs import SqsServer
from riverbridge.errors import ConfigurationError
from riverbridge.sources.base import NotNow, NotToBeHad
from riverbridge.sources.references import References
from tests.support.given import GivenSqs
from tests.support.tls import Authority

LIMIT = 1000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rpartition("/")[2]
        if path.isdigit():
            self.send_response(int(path))
            self.send_header("Location", "/events/good")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        body = b"x" * {"large": LIMIT + 1, "edge": LIMIT}.get(path, 3)
        if path not in ("endless", "slow", "large"):
            self.send_header("Content-Length", str(len(body) + 5 * (path == "cut")))
        self.end_headers()
        self.wfile.write(body)
        while path in ("endless", "slow"):
            self.wfile.write(b"x" if path == "slow" else b"x" * 100)
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority: Authority) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("files", "DNS:localhost"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def references(*allowed: str, ca: Path | None, **more: Any) -> References:
    given = {"limit": LIMIT, "timeout": 1.0, "private": True} | more
    return References(allowed, ca_file=None if ca is None else str(ca), **given)


def test_a_body_comes_from_where_it_is_allowed(files: str, authority: Authority) -> None:
    held = references(f"{files}/events/", ca=authority.ca)
    assert held.get(f"{files}/events/good?signature=s3cret") == b"xxx"
    assert len(held.get(f"{files}/events/edge")) == LIMIT


@pytest.mark.parametrize(
    ("path", "error", "why"),
    [
        ("/events/large", NotToBeHad, "larger than 1000 bytes"),
        ("/events/endless", NotToBeHad, "larger than 1000 bytes"),
        ("/events/404", NotToBeHad, "answered 404"),
        ("/events/302", NotToBeHad, "answered 302"),
        ("/events/503", NotNow, "answered 503"),
        ("/events/429", NotNow, "answered 429"),
        ("/events/slow", NotNow, "longer than 1 s"),
        ("/events/cut", NotNow, "its midst|IncompleteRead"),
        ("/other/good", NotToBeHad, "not among the places"),
        ("/events/../other/good", NotToBeHad, "leads upwards"),
        ("/events/%2e%2E/other/good", NotToBeHad, "leads upwards"),
        ("/events/%252e%252e/other", NotToBeHad, "leads upwards"),
        ("/events/..%5cother", NotToBeHad, "leads upwards"),
        ("/events/a b", NotToBeHad, "plain https"),
        ("/events/a\r\nX: y", NotToBeHad, "plain https"),
    ],
)
def test_what_is_not_to_be_had_is_said(
    files: str, authority: Authority, path: str, error: type[Exception], why: str
) -> None:
    held = references(f"{files}/events/", ca=authority.ca)
    with pytest.raises(error, match=why) as raised:
        held.get(f"{files}{path}?signature=s3cret")
    assert "s3cret" not in str(raised.value)


def test_addresses_and_certificates_are_looked_at(files: str, authority: Authority) -> None:
    with pytest.raises(NotToBeHad, match="private or loopback"):
        references(f"{files}/", ca=authority.ca, private=False).get(f"{files}/good")
    with pytest.raises(NotNow, match="certificate"):
        references(f"{files}/", ca=None).get(f"{files}/good")
    port = files.rpartition(":")[2]
    for uri in (
        f"http://localhost:{port}/good",
        f"https://user@localhost:{port}/good",
        f"https://localhost.evil.example:{port}/good",
        f"https://localhost:{port}1/good",
        "file:///etc/passwd",
        "s3://box/key",
    ):
        with pytest.raises(NotToBeHad):
            references(f"{files}/", ca=authority.ca).get(uri)


@pytest.mark.parametrize(
    "place", ["http://a/", "https://a/b", "s3:///k", "ftp://a/", "https://u:p@a/", "https://a/?q"]
)
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(ConfigurationError):
        references(place, ca=None)


def test_objects_of_s3(sqs: SqsServer | GivenSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    bucket = f"bodies-{uuid.uuid4().hex}"
    client = boto3.client("s3", endpoint_url=sqs.endpoint_url, region_name="us-east-1")
    client.create_bucket(Bucket=bucket)
    for key, size in (("a/1%2E", LIMIT), ("a/2", LIMIT + 1), ("b/1", 1)):
        client.put_object(Bucket=bucket, Key=key, Body=b"x" * size)
    more = {"region": "us-east-1", "endpoint_url": sqs.endpoint_url}
    held = references(f"s3://{bucket}/a/", ca=None, **more)
    assert len(held.get(f"s3://{bucket}/a/1%2E")) == LIMIT
    for key, why in (
        ("a/2", "larger than"),
        ("a/3", "404 NoSuchKey"),
        ("b/1", "not among the places"),
    ):
        with pytest.raises(NotToBeHad, match=why):
            held.get(f"s3://{bucket}/{key}")
    nobody = references("s3://box", ca=None, region="us-east-1", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(NotNow, match="S3 does not answer"):
        nobody.get("s3://box/key")
