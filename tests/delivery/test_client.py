"""What goes over the wire, where it may go, and what comes back as an outcome."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from urllib.parse import quote

import pytest
import pytest_asyncio

from flowkick.delivery.client import Outcome, OutcomeKind, Request, Sender
from flowkick.delivery.targets import TargetGuard
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
