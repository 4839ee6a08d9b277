"""What receivers get once somebody was erased, and what the report says of them."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from sqlalchemy import update

from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookDelivery
from flowkick.privacy.settling import Settling
from tests.history.made import get, post
from tests.privacy.test_erasure import PERSON, delivered, until_erased
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import attempts, create_subscription, deliveries
from tests.support.server import Api


async def erase(api: Api, user: str) -> dict[str, Any]:
    answer = await api.http.delete(f"/api/admin/users/{user}")
    assert answer.status_code == 200
    erasure: dict[str, Any] = answer.json()["erasure"]
    return erasure


async def sent_in_the_end(api: Api, count: int) -> list[WebhookDelivery]:
    """All deliveries, once there are so many and none of them waits."""
    async with asyncio.timeout(60):
        while True:
            rows = list(await deliveries(api.database))
            if len(rows) == count and all(row.finished_at for row in rows):
                return rows
            await asyncio.sleep(0.02)


async def test_what_was_before_the_end_is_never_sent_again(api: Api, settings: Settings) -> None:
    async with Endpoint() as endpoint:
        webhook = await create_subscription(
            api.database, settings.key_ring, api.admin_id, endpoint.url
        )
        user = (await post(api.http, "/users", PERSON))["user"]["id"]
        await post(api.http, f"/users/{user}/tags", {"name": "vip"}, 200)
        await delivered(endpoint, 2)
        first = (await deliveries(api.database))[0]
        erasure = await erase(api, user)
        await until_erased(api, erasure["id"])
        again = await api.http.post(f"/api/admin/deliveries/{first.id}/resend")
        assert again.status_code == 409
        replay = await post(api.http, f"/webhooks/{webhook}/replay", {"dryRun": True}, 200)
        assert (replay["count"], replay["removed"]) == (1, 2)
        await post(api.http, f"/webhooks/{webhook}/replay", {}, 202)
        await delivered(endpoint, 4)
        told = [arrival.json() for arrival in endpoint.arrivals[2:]]
        assert [body["event"] for body in told] == ["user.deleted"] * 2
        assert told[0]["data"] == {"user": {"id": user, "manychatId": PERSON["manychatId"]}}
        assert told[1]["data"] == {"user": {"id": user, "manychatId": None}}
        feed = await get(api.http, "/events")
        assert [event["event"] for event in feed["events"]] == ["user.deleted"]
        assert feed["removed"] == 2
        await sent_in_the_end(api, 4)
        shown = (await get(api.http, f"/erasures/{erasure['id']}"))["erasure"]["receivers"]
        assert [(one["webhookId"], one["status"]) for one in shown] == [(webhook, "acknowledged")]


async def test_the_end_comes_after_what_is_on_its_way(api: Api, settings: Settings) -> None:
    """A request that can't be called back may arrive late: the end is not to overtake it."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.BaseRequest) -> web.Response:
        await request.read()
        arrived.set()
        await go_on.wait()
        return web.Response(text="Thank you, Quillon")

    runner = web.ServerRunner(web.Server(slowly), shutdown_timeout=0.1)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    try:
        port = runner.addresses[0][1]
        await create_subscription(
            api.database, settings.key_ring, api.admin_id, f"http://127.0.0.1:{port}/"
        )
        user = (await post(api.http, "/users", PERSON))["user"]["id"]
        await asyncio.wait_for(arrived.wait(), 30)
        (sending,) = await deliveries(api.database)
        await erase(api, user)
        rows = await deliveries(api.database)
        assert [(row.event, row.status) for row in rows] == [
            ("user.created", "failed"),
            ("user.deleted", "pending"),
        ]
        assert sending.due_at is not None
        assert rows[1].due_at is not None
        assert rows[1].due_at >= sending.due_at > system_clock()
        arrived.clear()
        async with api.database.system_transaction() as session:  # the lease ends
            await session.execute(
                update(WebhookDelivery)
                .where(WebhookDelivery.id == rows[1].id)
                .values(due_at=system_clock())
            )
        go_on.set()
        await asyncio.wait_for(arrived.wait(), 30)
        await sent_in_the_end(api, 2)
        logged = await attempts(api.database)
        assert [row.delivery_id for row in logged] == [rows[1].id]
    finally:
        await site.stop()
        await runner.cleanup()


async def test_an_answer_to_a_resend_that_was_under_way_is_not_kept(
    api: Api, settings: Settings
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()
    count = 0

    async def slowly(request: web.BaseRequest) -> web.Response:
        nonlocal count
        body = await request.read()
        count += 1
        if count == 2:
            arrived.set()
            await go_on.wait()
        return web.Response(body=body[:500])

    runner = web.ServerRunner(web.Server(slowly), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        await create_subscription(
            api.database, settings.key_ring, api.admin_id, url, events=["user.created"]
        )
        user = (await post(api.http, "/users", PERSON))["user"]["id"]
        (delivery,) = await sent_in_the_end(api, 1)
        resending = asyncio.create_task(
            api.http.post(f"/api/admin/deliveries/{delivery.id}/resend")
        )
        await asyncio.wait_for(arrived.wait(), 30)
        await erase(api, user)
        go_on.set()
        assert (await resending).status_code == 200
        logged = [row for row in await attempts(api.database) if row.delivery_id == delivery.id]
        assert [row.response_body for row in logged] == [None, None]
    finally:
        await runner.cleanup()


async def test_who_can_not_be_told_is_named(api: Api, settings: Settings) -> None:
    def refuse(_arrival: Arrival) -> web.Response:
        return web.Response(status=410)

    async with Endpoint() as endpoint, Endpoint(refuse) as gone:
        keys = settings.key_ring
        deleted, later, inactive, leaves = [
            await create_subscription(api.database, keys, api.admin_id, url)
            for url in (endpoint.url, endpoint.url, endpoint.url, gone.url)
        ]
        user = (await post(api.http, "/users", {"manychatId": "5"}))["user"]["id"]
        await sent_in_the_end(api, 4)
        await api.http.delete(f"/api/admin/webhooks/{deleted}")
        for webhook in (later, inactive):
            await api.http.patch(f"/api/admin/webhooks/{webhook}", json={"active": False})
        erasure = await erase(api, user)
        shown = {one["webhookId"]: one["status"] for one in erasure["receivers"]}
        assert shown == dict.fromkeys((deleted, later, inactive, leaves), "unreachable")
        await api.http.delete(f"/api/admin/webhooks/{later}")
        assert not await Settling(api.database, system_clock).settle()
        for webhook in (inactive, leaves):
            await api.http.patch(f"/api/admin/webhooks/{webhook}", json={"active": True})
        settled = await until_erased(api, erasure["id"])
        assert {one["webhookId"]: one["status"] for one in settled["receivers"]} == {
            deleted: "unreachable",
            later: "unreachable",
            inactive: "acknowledged",
            leaves: "failed",
        }
