"""The client trusts a receiver's certificate, or there is no request."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flowkick.delivery.client import Outcome, OutcomeKind, Request, Sender
from flowkick.delivery.targets import TargetGuard
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
