"""What goes over the wire, where it may go, and what comes back as an outcome."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flowkick.delivery.client import Outcome, OutcomeKind, Request, Sender
from flowkick.delivery.targets import TargetGuard, TargetRefused
from tests.delivery.hostile import HostileReceiver

pytestmark = pytest.mark.asyncio

LOOPBACK = TargetGuard([ip_network("127.0.0.0/8")])
BODY = '{"event":"user.created","data":{"user":{"name":"Zoë"}}}'.encode()
LIVENESS = 30.0
NOW = datetime(2025, 11, 6, 10, 30, tzinfo=UTC)


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[HostileReceiver]:
    async with HostileReceiver() as receiver:
        yield receiver


@pytest_asyncio.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(LOOPBACK, clock=lambda: NOW) as sender:
        yield sender


async def send(sender: Sender, url: str, **headers: str) -> Outcome:
    async with asyncio.timeout(LIVENESS + 10):
        return await sender.send(Request(url, BODY, headers, LIVENESS))


# The request


async def test_a_request_arrives_as_it_was_given(sender: Sender, receiver: HostileReceiver) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "Test/1", "webhook-id": "evt_1"}
    outcome = await sender.send(Request(receiver.url("/ok?a=%2Fb"), BODY, headers, LIVENESS))
    assert outcome.success
    request = receiver.requests[0]
    assert request.body == BODY
    assert request.target == "/ok?a=%2Fb"
    assert request.headers == {
        "content-type": "application/json",
        "user-agent": "Test/1",
        "webhook-id": "evt_1",
        "host": f"127.0.0.1:{receiver.port}",
        "content-length": str(len(BODY)),
        "accept": "*/*",
        "accept-encoding": "identity",
    }


async def test_requests_to_one_host_share_a_kept_alive_connection(
    sender: Sender, receiver: HostileReceiver
) -> None:
    for path in (
        "/ok",
        "/no-content",
        "/chunked",
        "/early-hints",
        "/body?size=65000",
        "/status?code=500",
    ):
        await send(sender, receiver.url(path))
    assert receiver.connections == 1
    assert len(receiver.requests) == 6


async def test_requests_run_side_by_side_up_to_the_number_of_connections(
    receiver: HostileReceiver,
) -> None:
    async with Sender(LOOPBACK, connections=5) as sender:
        outcomes = await asyncio.gather(*(send(sender, receiver.url("/ok")) for _ in range(50)))
    assert all(outcome.success for outcome in outcomes)
    assert receiver.connections <= 5


async def test_cookies_are_not_kept(sender: Sender, receiver: HostileReceiver) -> None:
    url = receiver.url("/status?code=200&header=Set-Cookie:%20session=1;%20Path=/")
    await send(sender, url)
    await send(sender, url)
    assert "cookie" not in receiver.requests[1].headers


async def test_proxies_of_the_environment_are_not_used(
    receiver: HostileReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with HostileReceiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        monkeypatch.setenv("no_proxy", "")
        async with Sender(LOOPBACK) as sender:
            assert (await send(sender, receiver.url("/ok"))).success
        assert proxy.connections == 0


async def test_a_connection_closed_while_idle_does_not_cost_an_attempt(
    sender: Sender, receiver: HostileReceiver
) -> None:
    url = receiver.url("/close-when-reused")
    outcomes = [await send(sender, url) for _ in range(3)]
    assert all(outcome.success for outcome in outcomes)
    assert receiver.connections == 3


async def test_a_receiver_that_hangs_up_on_every_request_is_asked_again_once_at_most(
    sender: Sender, receiver: HostileReceiver
) -> None:
    await send(sender, receiver.url("/ok"))
    outcome = await send(sender, receiver.url("/close"))
    assert outcome.kind is OutcomeKind.FAULT
    assert [request.path for request in receiver.requests] == ["/ok", "/close", "/close"]


# The outcome


async def test_an_outcome_tells_when_how_long_and_what(
    sender: Sender, receiver: HostileReceiver
) -> None:
    outcome = await send(sender, receiver.url("/ok"))
    assert outcome.kind is OutcomeKind.RESPONSE
    assert outcome.success
    assert outcome.status_code == 200
    assert outcome.response_body == '{"received":true}'
    assert outcome.error_message is None
    assert outcome.retry_after is None
    assert outcome.started_at == NOW
    assert 0 <= outcome.duration_ms <= LIVENESS * 1000


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_success(sender: Sender, receiver: HostileReceiver, code: int) -> None:
    outcome = await send(sender, receiver.url(f"/status?code={code}"))
    assert outcome.success
    assert outcome.error_message is None


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (400, "The receiver answered 400 Bad Request."),
        (410, "The receiver answered 410 Gone."),
        (500, "The receiver answered 500 Internal Server Error."),
        (599, "The receiver answered 599."),
        (304, "The receiver answered 304 Not Modified; redirects are not followed."),
    ],
)
async def test_every_other_status_is_a_failure_told_in_a_sentence(
    sender: Sender, receiver: HostileReceiver, code: int, sentence: str
) -> None:
    outcome = await send(sender, receiver.url(f"/status?code={code}"))
    assert outcome.kind is OutcomeKind.RESPONSE
    assert not outcome.success
    assert outcome.status_code == code
    assert outcome.error_message == sentence


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/no-content", ""),
        ("/chunked", "one two three"),
        ("/until-close", "the end is the close"),
        ("/early-hints", "after hints"),
        ("/body?size=999", "x" * 999),
        ("/body?size=1001", "x" * 1000),
        ("/body?size=65536", "x" * 1000),
        ("/body?size=65537", "x" * 1000),
    ],
)
async def test_a_body_is_kept_up_to_a_thousand_characters(
    sender: Sender, receiver: HostileReceiver, path: str, body: str
) -> None:
    outcome = await send(sender, receiver.url(path))
    assert outcome.success
    assert outcome.response_body == body


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("86400", 86400.0),
        ("86401", 86400.0),
        ("9" * 50, 86400.0),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), 300.0),
        (format_datetime(NOW + timedelta(days=400), usegmt=True), 86400.0),
        (format_datetime(NOW - timedelta(minutes=5), usegmt=True), None),
        ("Thursday, 06-Nov-25 10:31:00 GMT", 60.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Fri, 99 Foo 2025 99:99:99 GMT", None),
    ],
)
async def test_retry_after_is_understood_as_seconds_or_a_date_and_nonsense_ignored(
    sender: Sender, receiver: HostileReceiver, code: int, value: str, seconds: float | None
) -> None:
    header = quote(f"Retry-After: {value}")
    outcome = await send(sender, receiver.url(f"/status?code={code}&header={header}"))
    assert outcome.retry_after == seconds


@pytest.mark.parametrize("code", [200, 301, 400, 500, 502])
async def test_retry_after_counts_for_429_and_503_only(
    sender: Sender, receiver: HostileReceiver, code: int
) -> None:
    outcome = await send(sender, receiver.url(f"/status?code={code}&header=Retry-After:%2060"))
    assert outcome.retry_after is None


async def test_a_refused_connection_is_a_fault(sender: Sender) -> None:
    async with HostileReceiver() as receiver:
        url = receiver.url("/ok")
    outcome = await send(sender, url)
    assert outcome.kind is OutcomeKind.FAULT
    assert outcome.error_message == (
        f"No connection could be made to 127.0.0.1 port {receiver.port}: Connection refused."
    )


async def test_no_outcome_shows_a_header_value(sender: Sender, receiver: HostileReceiver) -> None:
    for path in ("/close", "/status?code=500", "/garbage", "/cut-body"):
        outcome = await send(sender, receiver.url(path), Authorization="Bearer s3cr3t")
        assert "s3cr3t" not in repr(outcome)
    outcome = await send(sender, receiver.url("/ok"), Authorization="Bearer s3cr3t\r\nX: y")
    assert outcome.kind is OutcomeKind.FAULT
    assert "s3cr3t" not in repr(outcome)


async def test_a_request_after_closing_is_a_fault(receiver: HostileReceiver) -> None:
    sender = Sender(LOOPBACK)
    await sender.start()
    await sender.close()
    assert (await send(sender, receiver.url("/ok"))).kind is OutcomeKind.FAULT


async def test_closing_ends_requests_in_flight_with_an_outcome(receiver: HostileReceiver) -> None:
    sender = Sender(LOOPBACK)
    await sender.start()
    task = asyncio.create_task(send(sender, receiver.url("/silent")))
    async with asyncio.timeout(LIVENESS):
        await receiver.arrival()
    await sender.close()
    assert (await task).kind is OutcomeKind.FAULT


# Targets, at every attempt


def loopback_forms(port: int) -> list[str]:
    return [
        f"http://{host}:{port}/ok"
        for host in (
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "localhost",
            "localhost.",
            "app.localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "0.0.0.0",
            "[::]",
            "１２７.０.０.１",
            "127。0。0。1",
            "user@127.0.0.1",
        )
    ]


async def test_nothing_reaches_this_machine_in_any_form(receiver: HostileReceiver) -> None:
    async with Sender(TargetGuard()) as sender:
        for url in loopback_forms(receiver.port):
            outcome = await send(sender, url)
            assert outcome.kind is OutcomeKind.REFUSED, url
            assert outcome.error_message
    assert receiver.connections == 0


class Names:
    """A name server of the test's own, which gives each answer once and then the last one."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


async def test_a_name_that_resolves_to_this_machine_is_refused(receiver: HostileReceiver) -> None:
    async with Sender(TargetGuard(lookup=Names(["127.0.0.1"]))) as sender:
        outcome = await send(sender, receiver.url("/ok", host="crm.example"))
    assert outcome.kind is OutcomeKind.REFUSED
    assert outcome.error_message == (
        "The name crm.example leads to an address that is loopback; "
        "webhooks reach public addresses only."
    )
    assert receiver.connections == 0


async def test_a_name_that_changes_between_check_and_connect_is_refused(
    receiver: HostileReceiver,
) -> None:
    guard = TargetGuard(lookup=Names(["8.8.8.8"], ["127.0.0.1"]))
    url = receiver.url("/ok", host="rebinding.example")
    await guard.check_resolved(url)
    async with Sender(guard) as sender:
        assert (await send(sender, url)).kind is OutcomeKind.REFUSED
    assert receiver.connections == 0


class LateGuard(TargetGuard):
    """Trusts every name, as a guard would that was fooled between its lookup and the socket."""

    async def resolve(self, host: str, port: int) -> list[str]:
        return list(await self._lookup(host, port))


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["127.0.0.1", "127.0.0.2"]]
)
async def test_the_address_of_the_socket_decides_whatever_the_lookup_said(
    receiver: HostileReceiver, addresses: list[str]
) -> None:
    async with Sender(LateGuard(lookup=Names(addresses))) as sender:
        outcome = await send(sender, receiver.url("/ok", host="crm.example"))
    assert outcome.kind is OutcomeKind.REFUSED
    assert receiver.connections == 0


async def test_a_name_that_resolves_to_an_allowed_address_is_reached(
    receiver: HostileReceiver,
) -> None:
    guard = TargetGuard([ip_network("127.0.0.0/8")], lookup=Names(["127.0.0.1"]))
    async with Sender(guard) as sender:
        outcome = await send(sender, receiver.url("/ok", host="crm.example"))
    assert outcome.success
    assert receiver.requests[0].headers["host"] == f"crm.example:{receiver.port}"


async def test_localhost_is_reached_where_loopback_is_allowed(
    sender: Sender, receiver: HostileReceiver
) -> None:
    assert (await send(sender, receiver.url("/ok", host="localhost"))).success


async def test_a_name_that_does_not_resolve_is_a_fault() -> None:
    guard = TargetGuard(lookup=Names(OSError("no such name")))
    async with Sender(guard) as sender:
        outcome = await send(sender, "https://gone.example/")
    assert outcome.kind is OutcomeKind.FAULT
    assert outcome.error_message == "The name gone.example could not be resolved."


async def test_a_lookup_that_never_ends_costs_the_timeout() -> None:
    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with Sender(TargetGuard(lookup=never)) as sender, asyncio.timeout(LIVENESS):
        outcome = await sender.send(Request("https://slow.example/", BODY, {}, 0.2))
    assert outcome.kind is OutcomeKind.TIMEOUT


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["same", "http://169.254.169.254/latest/meta-data/", "file:///"])
async def test_redirects_are_not_followed(
    sender: Sender, receiver: HostileReceiver, code: int, where: str
) -> None:
    to = receiver.url("/ok") if where == "same" else where
    outcome = await send(sender, receiver.url(f"/redirect?code={code}&to={quote(to, safe='')}"))
    assert outcome.kind is OutcomeKind.RESPONSE
    assert not outcome.success
    assert outcome.status_code == code
    assert outcome.error_message is not None
    assert outcome.error_message.endswith("; redirects are not followed.")
    assert [request.path for request in receiver.requests] == ["/redirect"]


async def test_a_guard_refuses_before_a_sender_is_asked() -> None:
    with pytest.raises(TargetRefused):
        TargetGuard().check_url("http://127.0.0.1/")


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest_asyncio.fixture
async def tls_receiver(certificate: Path) -> AsyncIterator[HostileReceiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with HostileReceiver(tls=context) as receiver:
        yield receiver


async def test_a_trusted_certificate_is_accepted(
    tls_receiver: HostileReceiver, certificate: Path
) -> None:
    trust = ssl.create_default_context(cafile=str(certificate))
    async with Sender(LOOPBACK, tls=trust) as sender:
        for _ in range(2):
            assert (await send(sender, tls_receiver.url("/ok"))).success
    assert tls_receiver.connections == 1


async def test_a_self_signed_certificate_is_a_fault(
    sender: Sender, tls_receiver: HostileReceiver
) -> None:
    outcome = await send(sender, tls_receiver.url("/ok"))
    assert outcome.kind is OutcomeKind.FAULT
    assert outcome.error_message is not None
    assert outcome.error_message.startswith("The receiver's TLS certificate was not accepted: self")
    assert tls_receiver.requests == []


async def test_a_certificate_of_another_host_is_a_fault(
    tls_receiver: HostileReceiver, certificate: Path
) -> None:
    guard = TargetGuard([ip_network("127.0.0.0/8")], lookup=Names(["127.0.0.1"]))
    trust = ssl.create_default_context(cafile=str(certificate))
    async with Sender(guard, tls=trust) as sender:
        outcome = await send(sender, tls_receiver.url("/ok", host="crm.example"))
    assert outcome.kind is OutcomeKind.FAULT
    assert outcome.error_message is not None
    assert "certificate" in outcome.error_message
    assert tls_receiver.requests == []


async def test_https_to_a_plain_server_is_a_fault(
    sender: Sender, receiver: HostileReceiver
) -> None:
    outcome = await send(sender, receiver.url("/ok", scheme="https"))
    assert outcome.kind is OutcomeKind.FAULT
    assert outcome.error_message == "No TLS connection could be made: wrong version number."


async def test_http_to_a_tls_server_is_a_fault(
    sender: Sender, tls_receiver: HostileReceiver
) -> None:
    outcome = await send(sender, tls_receiver.url("/ok", scheme="http"))
    assert outcome.kind is OutcomeKind.FAULT


async def test_a_tls_handshake_that_never_ends_costs_the_timeout(sender: Sender) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server, asyncio.timeout(LIVENESS):
        port = server.sockets[0].getsockname()[1]
        outcome = await sender.send(Request(f"https://127.0.0.1:{port}/", BODY, {}, 0.3))
    assert outcome.kind is OutcomeKind.TIMEOUT


async def test_a_sender_that_was_not_started_says_so(receiver: HostileReceiver) -> None:
    with pytest.raises(RuntimeError, match="start"):
        await Sender(LOOPBACK).send(Request(receiver.url("/ok"), BODY, {}, LIVENESS))
