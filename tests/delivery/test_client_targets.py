"""The client asks the target guard at every attempt, about the address really connected to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from urllib.parse import quote

import pytest
import pytest_asyncio

from flowkick.delivery.client import Outcome, OutcomeKind, Request, Sender
from flowkick.delivery.targets import TargetGuard, TargetRefused
from tests.delivery.hostile import HostileReceiver
from tests.delivery.names import Names

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
