"""The receiver that developers run: what it believes, what it calls a repeat, what it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from flowkick.cli.receiver import Received, Receiver, render
from flowkick.delivery.signing import new_secret, signed_headers
from flowkick.webhooks.catalogue import CATALOGUE

SECRET = new_secret()
BODY = json.dumps(CATALOGUE["user.created"].example()).encode()


def _signed(
    event_id: str = "evt_1",
    *,
    secrets: tuple[str, ...] = (SECRET,),
    body: bytes = BODY,
    age: int = 0,
) -> dict[str, str]:
    return signed_headers(
        event="user.created",
        message_id=event_id,
        payload_timestamp="2025-11-06T10:30:00.000Z",
        attempt=2,
        body=body,
        secrets=secrets,
        at=datetime.now(UTC) - timedelta(seconds=age),
    )


async def _arrived(
    *requests: tuple[dict[str, str], bytes], secrets: tuple[str, ...] = (SECRET,)
) -> list[Received]:
    arrived: list[Received] = []
    async with (
        Receiver(secrets=secrets, on_received=arrived.append) as receiver,
        httpx.AsyncClient() as http,
    ):
        for headers, body in requests:
            answer = await http.post(receiver.url, content=body, headers=headers)
            assert answer.status_code == 200
    return arrived


async def test_what_fits_one_of_several_secrets_is_believed() -> None:
    former = new_secret()
    requests = [(_signed("evt_1", secrets=(former, SECRET)), BODY), (_signed("evt_2"), BODY)]
    arrived = await _arrived(*requests, secrets=(former, SECRET))
    assert [received.verified for received in arrived] == [True, True]


# Signed when the test runs, not when it is collected: a signature is good for five minutes.
@pytest.mark.parametrize(
    ("headers", "body", "problem"),
    [
        (_signed, BODY + b" ", "X-Webhook-Signature"),
        (lambda: _signed(secrets=(new_secret(),)), BODY, "X-Webhook-Signature"),
        (lambda: _signed() | {"X-Webhook-Signature": "short"}, BODY, "X-Webhook-Signature"),
        (lambda: _signed() | {"webhook-id": "evt_2"}, BODY, "webhook-signature"),
        (lambda: _signed(age=600), BODY, "old"),
        (lambda: _signed(age=-600), BODY, "ahead"),
        (dict[str, str], BODY, "X-Webhook-Signature"),
    ],
    ids=["other body", "other secret", "short", "other id", "old", "ahead", "unsigned"],
)
async def test_what_does_not_fit_is_shown_with_the_reason(
    headers: Callable[[], dict[str, str]], body: bytes, problem: str
) -> None:
    (received,) = await _arrived((headers(), body))
    assert not received.verified
    assert problem in str(received.problem)
    assert f"✗ {received.problem}" in render(received)


async def test_without_a_secret_nothing_is_believed() -> None:
    (received,) = await _arrived((_signed(), BODY), secrets=())
    assert "--secret" in str(received.problem)


async def test_the_same_event_again_is_called_a_repeat() -> None:
    arrived = await _arrived(
        (_signed("evt_1"), BODY), (_signed("evt_2"), BODY), (_signed("evt_1"), BODY)
    )
    assert [received.repeated for received in arrived] == [False, False, True]
    assert "seen before" in render(arrived[2])


async def test_a_forgery_does_not_make_the_genuine_event_a_repeat() -> None:
    forged = _signed("evt_1", secrets=(new_secret(),))
    arrived = await _arrived((forged, BODY), (_signed("evt_1"), BODY))
    assert [(r.verified, r.repeated) for r in arrived] == [(False, False), (True, False)]


async def test_requests_without_an_id_are_no_repeats_of_each_other() -> None:
    arrived = await _arrived(({}, b"{}"), ({}, b"{}"))
    assert [received.repeated for received in arrived] == [False, False]


async def test_the_status_that_was_asked_for_is_answered() -> None:
    async with Receiver(status=503, secrets=[SECRET]) as receiver, httpx.AsyncClient() as http:
        assert (await http.post(receiver.url, content=BODY, headers=_signed())).status_code == 503


async def test_what_arrived_is_shown_in_short() -> None:
    (received,) = await _arrived((_signed(), BODY))
    shown = render(received)
    for part in ("user.created", "attempt 2", "evt_1", "✓ signature verified", "John"):
        assert part in shown
    assert "whatsappPhone" not in shown


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[1]",
        b'{"data": 1}',
        b'{"data": {"user": null}}',
        b"\xff\x00",
        b"[" * 100_000,
        b"[" * 400 + b"]" * 400,
    ],
    ids=["empty", "null", "list", "number", "no user", "bytes", "deep", "nested"],
)
async def test_any_body_can_be_shown(body: bytes) -> None:
    (received,) = await _arrived((_signed(body=body), body))
    assert received.verified
    assert render(received)
