"""One trace leads from a request to each attempt that tells of its change, if it is collected."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from flowkick.core import tracing
from flowkick.core.errors import SettingsError
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookEvent
from flowkick.storage.database import Database
from tests.cli.test_processes import started
from tests.conftest import client, new_admin
from tests.delivery.test_engine import failing_first
from tests.support.collector import Collector
from tests.support.commands import Machine
from tests.support.endpoint import Endpoint
from tests.support.factories import create_subscription
from tests.support.ports import free_port

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SERVER, CLIENT, PRODUCER = 2, 3, 4


@asynccontextmanager
async def serving(machine: Machine, key: str, **more: str) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    command = ("serve", "--port", str(port))
    async with (
        started(machine, *command, says=b"serving", **more),
        client(f"http://127.0.0.1:{port}", key) as http,
    ):
        yield http


async def stored_traceparents(database: Database) -> list[str | None]:
    async with database.system_reading() as session:
        rows = await session.scalars(select(WebhookEvent.traceparent).order_by(WebhookEvent.id))
        return list(rows)


async def test_one_trace_leads_from_a_request_through_its_event_to_each_attempt(
    machine: Machine, database: Database, settings: Settings
) -> None:
    admin_id, key = await new_admin(database)
    async with Endpoint(answer=failing_first(1, 503)) as endpoint, Collector() as collector:
        made = await create_subscription(
            database, settings.key_ring, admin_id, f"{endpoint.url}?token=hidden"
        )
        collecting = {ENDPOINT: collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        async with serving(machine, key, **collecting) as http:
            headers = {"traceparent": GIVEN, "x-request-id": "mine"}
            body = {"firstName": "Zenobia"}
            answer = await http.post("/api/admin/users", json=body, headers=headers)
            assert answer.status_code == 201
            await http.get("/api/admin/users", params={"search": "lovelace"})
            attempts = await collector.wait_for("deliver user.created", 2)
            await http.get("/healthz")
            tested = await http.post(f"/api/admin/webhooks/{made}/test")
            assert tested.json()["test"]["sent"]
    (request,) = collector.named("POST /api/admin/users")
    (recorded,) = collector.named("record user.created")
    (looked,) = collector.named("GET /api/admin/users")
    assert (request.trace_id, request.parent_id) == tuple(GIVEN.split("-")[1:3])
    assert (request.kind, recorded.kind, attempts[0].kind) == (SERVER, PRODUCER, CLIENT)
    assert recorded.parent_id == request.id
    assert {attempt.parent_id for attempt in attempts} == {recorded.id}
    assert {span.trace_id for span in (recorded, *attempts)} == {request.trace_id}
    assert looked.trace_id != request.trace_id
    assert {span.service for span in collector.spans} == {"flowkick"}

    sent = [arrival.headers["traceparent"] for arrival in endpoint.arrivals]
    assert sent[:2] == [f"00-{one.trace_id}-{one.id}-01" for one in attempts]
    assert await stored_traceparents(database) == [
        f"00-{recorded.trace_id}-{recorded.id}-01",
        None,
    ]
    event_id = endpoint.arrivals[0].event_id
    assert request.attributes["flowkick.request.id"] == "mine"
    assert recorded.attributes["flowkick.event.id"] == event_id
    assert [attempt.failed for attempt in attempts] == [True, False]
    described = [
        {name: value for name, value in attempt.attributes.items() if name != "server.port"}
        for attempt in attempts
    ]
    same: dict[str, Any] = {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "flowkick.event.type": "user.created",
        "flowkick.event.id": event_id,
        "flowkick.webhook.id": made,
    }
    assert described == [
        {
            **same,
            "http.request.resend_count": 0,
            "http.response.status_code": 503,
            "error.type": "503",
        },
        {**same, "http.request.resend_count": 1, "http.response.status_code": 200},
    ]
    # The last ones are sent at the end; a test belongs to the request that asks for it.
    (test,) = collector.named("deliver webhook.test")
    (asked,) = collector.named("POST /api/admin/webhooks/{id}/test")
    assert (test.trace_id, test.parent_id) == (asked.trace_id, asked.id)
    assert not collector.named("GET /healthz")
    told = repr(collector.spans).lower()
    assert not any(hidden in told for hidden in ("hidden", "zenobia", "lovelace", key.lower()))


async def test_without_a_collector_nothing_is_kept_or_sent_of_traces(
    machine: Machine, database: Database, settings: Settings
) -> None:
    admin_id, key = await new_admin(database)
    async with Endpoint() as endpoint:
        await create_subscription(database, settings.key_ring, admin_id, endpoint.url)
        async with serving(machine, key) as http:
            headers = {"traceparent": GIVEN}
            await http.post("/api/admin/users", json={"firstName": "Ada"}, headers=headers)
            await endpoint.wait_for(1)
    assert "traceparent" not in endpoint.arrivals[0].headers
    assert await stored_traceparents(database) == [None]


async def test_a_collector_that_is_away_holds_up_nothing(
    machine: Machine, database: Database, settings: Settings
) -> None:
    admin_id, key = await new_admin(database)
    away = {ENDPOINT: f"http://127.0.0.1:{free_port()}", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    async with Endpoint() as endpoint:
        await create_subscription(database, settings.key_ring, admin_id, endpoint.url)
        async with serving(machine, key, **away) as http:
            await http.post("/api/admin/users", json={"firstName": "Ada"})
            (arrival,) = await endpoint.wait_for(1)
    assert arrival.headers["traceparent"].startswith("00-")


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: " "}, False),
        ({ENDPOINT: "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({ENDPOINT: "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_the_standard_variables_turn_traces_on(environment: dict[str, str], wanted: bool) -> None:
    assert tracing.is_wanted(environment) is wanted


def test_another_protocol_is_refused_with_what_to_do() -> None:
    environment = {ENDPOINT: "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(SettingsError, match="not by grpc: set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        tracing.configure(environment)
    assert not tracing.is_on()


def test_a_missing_extra_is_named() -> None:
    code = """
import sys
sys.modules["opentelemetry.sdk"] = None
from flowkick.cli.main import main
sys.argv = ["flowkick", "serve"]
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, ENDPOINT: "http://127.0.0.1:4318"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "pip install 'flowkick[tracing]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_sdk_is_not_even_imported_where_nobody_collects() -> None:
    code = "import sys, flowkick.cli.main; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
