"""Receivers that know nothing of Flowkick's code accept its requests, and refuse forged ones."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from standardwebhooks import Webhook, WebhookVerificationError

from flowkick.delivery.signing import new_secret, signed_headers, signing_secret
from tests.support import lacking
from tests.support.endpoint import Endpoint
from tests.support.server import Api

SECRET = new_secret()
BODY = '{"event":"user.created","data":{"user":{"firstName":"Zoë 🎉"}}}'.encode()


def headers_for(
    body: bytes = BODY, *, secrets: tuple[str, ...] = (SECRET,), age: float = 0
) -> dict[str, str]:
    return signed_headers(
        event="user.created",
        message_id="evt_1",
        payload_timestamp="2025-11-06T10:30:00.000Z",
        attempt=1,
        body=body,
        secrets=secrets,
        at=datetime.now(UTC) - timedelta(seconds=age),
    )


@pytest_asyncio.fixture
async def node_receiver() -> AsyncIterator[str]:
    node = shutil.which("node") or lacking("Node")
    script = Path(__file__).with_name("receiver.js")
    process = await asyncio.create_subprocess_exec(
        str(node), str(script), SECRET, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    await process.wait()


async def test_a_node_receiver_accepts_ours_and_refuses_forgeries(node_receiver: str) -> None:
    async with httpx.AsyncClient() as http:

        async def status(body: bytes, headers: dict[str, str]) -> int:
            return (await http.post(node_receiver, content=body, headers=headers)).status_code

        assert await status(BODY, headers_for()) == 200
        assert await status(BODY + b" ", headers_for()) == 401
        assert await status(BODY, headers_for(secrets=(new_secret(),))) == 401
        assert await status(BODY, {**headers_for(), "X-Webhook-Signature": "short"}) == 401


def test_the_standard_webhooks_library_accepts_ours_and_refuses_forgeries() -> None:
    library = Webhook(signing_secret(SECRET))
    library.verify(BODY, headers_for())
    forged = [
        (BODY + b" ", headers_for()),
        (BODY, {**headers_for(), "webhook-id": "evt_2"}),
        (BODY, headers_for(secrets=(new_secret(),))),
        (BODY, headers_for(age=600)),
    ]
    for body, headers in forged:
        with pytest.raises(WebhookVerificationError):
            library.verify(body, headers)


async def test_both_secrets_verify_what_arrives_during_a_rotation(api: Api) -> None:
    async with Endpoint() as endpoint:
        answer = await api.http.post(
            "/api/admin/webhooks", json={"url": endpoint.url, "events": ["*"]}
        )
        old = answer.json()["webhook"]
        rotated = await api.http.post(f"/api/admin/webhooks/{old['id']}/rotate-secret")
        new = rotated.json()["webhook"]
        await api.http.post("/api/admin/users", json={"firstName": "Ada"})
        (arrival,) = await endpoint.wait_for(1)
    assert new["secret"] != old["secret"]
    for secret in (old["signingSecret"], new["signingSecret"]):
        Webhook(secret).verify(arrival.body, arrival.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing_secret(new_secret())).verify(arrival.body, arrival.headers)
