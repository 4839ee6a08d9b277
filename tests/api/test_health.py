"""A process tells whether it lives, whether it can work, and what it counts."""

from __future__ import annotations

from flowkick.app import Process
from tests.support.endpoint import Endpoint
from tests.support.factories import all_in, create_subscription, until
from tests.support.server import Api


async def test_a_healthy_process_says_so(api: Api) -> None:
    assert (await api.http.get("/healthz")).json()["status"] == "ok"
    ready = (await api.http.get("/readyz")).json()
    assert ready["checks"] == {"database": "ok", "migrations": "ok", "worker": "ok"}


async def test_what_waits_and_what_was_sent_is_counted(api: Api, process: Process) -> None:
    keys = process.settings.key_ring
    async with Endpoint() as endpoint:
        await create_subscription(api.database, keys, api.admin_id, endpoint.url)
        await create_subscription(api.database, keys, api.admin_id, endpoint.url, active=False)
        await api.http.post("/api/admin/users", json={"firstName": "Ada"})
        await until(api.database, all_in("success", "held"))
    text = (await api.http.get("/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert lines['flowkick_delivery_queue_depth{status="held"}'] == "1.0"
    assert lines['flowkick_delivery_queue_depth{status="pending"}'] == "0.0"
    assert float(lines['flowkick_events_recorded_total{event="user.created"}']) >= 1
    assert float(lines['flowkick_deliveries_total{status="success"}']) >= 1
    assert float(lines["flowkick_delivery_attempt_seconds_count"]) >= 1


async def test_a_process_without_its_tables_is_not_ready(api: Api) -> None:
    async with api.database.writer.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM alembic_version")
    answer = await api.http.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    states = {item["check"]: item["state"] for item in answer.json()["details"]}
    assert "flowkick migrate" in states["migrations"]
