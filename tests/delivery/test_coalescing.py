"""Updates of a user that wait for a webhook become one, where it asks for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from flowkick.app import Process
from flowkick.delivery.models import WebhookDelivery, WebhookEvent
from flowkick.webhooks.catalogue import CATALOGUE
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import all_in, create_subscription, deliveries, until
from tests.support.server import Api

ENDED = ("success", "failed", "superseded")


async def subscribe(process: Process, admin_id: str, url: str, **values: object) -> str:
    asked = {"ordering": "user", "coalesce": True, "active": False, **values}
    return await create_subscription(
        process.database, process.settings.key_ring, admin_id, url, **asked
    )


async def add_user(api: Api, **values: Any) -> str:
    answer = await api.http.post("/api/admin/users", json={"firstName": "Ada", **values})
    user_id: str = answer.json()["user"]["id"]
    return user_id


async def change(api: Api, user_id: str, **values: Any) -> None:
    answer = await api.http.patch(f"/api/admin/users/{user_id}", json=values)
    assert answer.status_code == 200, answer.text


async def activate(api: Api, webhook_id: str) -> None:
    await api.http.patch(f"/api/admin/webhooks/{webhook_id}", json={"active": True})


def events(arrivals: Sequence[Arrival]) -> list[str]:
    return [arrival.event for arrival in arrivals]


async def test_updates_that_wait_become_the_latest(api: Api, process: Process) -> None:
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(process, api.admin_id, endpoint.url)
        user_id = await add_user(api, email="a@example.com")
        for number in range(5):
            await change(api, user_id, email=f"{number}@example.com", lastName=f"L{number}")
        rows = await deliveries(api.database)
        await activate(api, webhook_id)
        await until(api.database, all_in(*ENDED))
        listed = await api.http.get(f"/api/admin/webhooks/{webhook_id}/deliveries")
    assert events(endpoint.arrivals) == ["user.created", "user.updated"]
    update = endpoint.arrivals[1].json()
    assert update["data"]["changes"] == {
        "email": {"old": "a@example.com", "new": "4@example.com"},
        "lastName": {"old": None, "new": "L4"},
    }
    assert update["data"]["user"]["email"] == "4@example.com"
    assert update["metadata"]["sequence"] == 6
    assert update["metadata"]["supersedes"] == [row.event_id for row in rows[1:]]
    assert update["metadata"]["eventId"] == endpoint.arrivals[1].event_id
    schema = CATALOGUE["user.updated"].json_schema()
    jsonschema_rs.Draft202012Validator(schema).validate(update)
    shown = listed.json()["deliveries"]
    assert [one["status"] for one in shown] == ["success", *["superseded"] * 5, "success"]
    assert f"delivery {shown[0]['id']}" in shown[1]["errorMessage"]
    resent = await api.http.post(f"/api/admin/deliveries/{shown[1]['id']}/resend")
    assert resent.status_code == 409


async def test_other_events_stay_where_they_are(api: Api, process: Process) -> None:
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(process, api.admin_id, endpoint.url)
        user_id = await add_user(api)
        await change(api, user_id, email="1@example.com")
        await change(api, user_id, email="2@example.com")
        await api.http.post(f"/api/admin/users/{user_id}/tags", json={"name": "vip"})
        await change(api, user_id, email="3@example.com")
        other = await add_user(api)
        await change(api, other, email="4@example.com")
        await activate(api, webhook_id)
        await until(api.database, all_in(*ENDED))
    mine = [a for a in endpoint.arrivals if a.json()["data"]["user"]["id"] == user_id]
    assert events(mine) == ["user.created", "user.updated", "tag.added", "user.updated"]
    assert "supersedes" not in mine[-1].json()["metadata"]
    assert len(endpoint.arrivals) == 6


async def test_what_comes_while_a_retry_waits_is_sent_with_it(api: Api, process: Process) -> None:
    refused: list[Arrival] = []

    def answer(arrival: Arrival) -> web.Response:
        if len(refused) == 1 and arrival.event == "user.updated":
            return web.Response()
        if arrival.event == "user.updated":
            refused.append(arrival)
            return web.Response(status=500)
        return web.Response()

    async with Endpoint(answer) as endpoint:
        await subscribe(process, api.admin_id, endpoint.url, active=True, retry_delay=3)
        user_id = await add_user(api)
        await change(api, user_id, email="1@example.com")
        await until(api.database, lambda rows: rows[-1].status == "retrying")
        await change(api, user_id, email="2@example.com")
        await until(api.database, all_in(*ENDED))
    assert events(endpoint.arrivals) == ["user.created", "user.updated", "user.updated"]
    last = endpoint.arrivals[-1].json()
    assert refused[0].event_id in last["metadata"]["supersedes"]
    assert last["data"]["changes"] == {"email": {"old": None, "new": "2@example.com"}}


async def test_a_retry_of_what_became_one_is_the_same_bytes(api: Api, process: Process) -> None:
    left = 1

    def answer(arrival: Arrival) -> web.Response:
        nonlocal left
        if arrival.event != "user.updated":
            return web.Response()
        left -= 1
        return web.Response(status=500 if left >= 0 else 200)

    async with Endpoint(answer) as endpoint:
        webhook_id = await subscribe(process, api.admin_id, endpoint.url)
        user_id = await add_user(api)
        for number in range(3):
            await change(api, user_id, email=f"{number}@example.com")
        await activate(api, webhook_id)
        await until(api.database, all_in(*ENDED))
    _, first, second = endpoint.arrivals
    assert first.body == second.body
    assert first.event_id == second.event_id


@pytest.mark.parametrize("coalesce", [True, False])
async def test_long_lines_become_few_events(api: Api, process: Process, *, coalesce: bool) -> None:
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(process, api.admin_id, endpoint.url, coalesce=coalesce)
        user_id = await add_user(api)
        for number in range(120):
            await change(api, user_id, email=f"{number}@example.com")
        await activate(api, webhook_id)
        await until(api.database, all_in(*ENDED))
    updates = [a.json() for a in endpoint.arrivals if a.event == "user.updated"]
    assert len(updates) == (2 if coalesce else 120)
    assert updates[-1]["data"]["user"]["email"] == "119@example.com"


_CHANGES = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {},
            optional={field: st.sampled_from([None, "x", "y"]) for field in ("lastName", "gender")},
        ),
        st.sampled_from(["+vip", "-vip", "hold", "release"]),
    ),
    max_size=12,
)


async def _make(api: Api, webhook_id: str, user_id: str, steps: Sequence[Any]) -> None:
    path = f"/api/admin/users/{user_id}"
    for step in steps:
        if isinstance(step, dict):
            await change(api, user_id, **step)
        elif step == "+vip":
            await api.http.post(f"{path}/tags", json={"name": "vip"})
        elif step == "-vip":
            await api.http.delete(f"{path}/tags/vip")
        else:
            await api.http.patch(
                f"/api/admin/webhooks/{webhook_id}", json={"active": step == "release"}
            )


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=_CHANGES)
async def test_the_receiver_ends_with_our_state(
    api: Api, process: Process, steps: Sequence[Any]
) -> None:
    """Whatever changed, and whenever the webhook was inactive meanwhile."""
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(process, api.admin_id, endpoint.url, active=True)
        user_id = await add_user(api)
        await _make(api, webhook_id, user_id, steps)
        await activate(api, webhook_id)

        def done(rows: Sequence[WebhookDelivery]) -> bool:
            mine = [row for row in rows if row.subscription_id == webhook_id]
            return bool(mine) and all(row.status in ENDED for row in mine)

        await until(api.database, done)
        ours = (await api.http.get(f"/api/admin/users/{user_id}")).json()["user"]
        await api.http.delete(f"/api/admin/webhooks/{webhook_id}")
    copy = [arrival.json()["data"]["user"] for arrival in endpoint.arrivals][-1]
    assert copy["lastName"] == ours["lastName"]
    assert copy["gender"] == ours["gender"]
    assert [tag["name"] for tag in copy["tags"]] == [tag["name"] for tag in ours["tags"]]
    numbers = [arrival.json()["metadata"]["sequence"] for arrival in endpoint.arrivals]
    assert numbers == sorted(set(numbers))


async def test_updates_that_cannot_be_joined_go_as_they_are(api: Api, process: Process) -> None:
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(process, api.admin_id, endpoint.url)
        user_id, other_id = await add_user(api), await add_user(api)
        for number in range(3):
            await change(api, user_id, email=f"{number}@example.com")
            await change(api, other_id, email=f"other{number}@example.com")
        odd = next(r.event_id for r in await deliveries(api.database) if r.event == "user.updated")
        async with process.database.transaction(api.admin_id) as session:
            await session.execute(
                update(WebhookEvent).where(WebhookEvent.id == odd).values(body=b'{"odd": true}')
            )
        await activate(api, webhook_id)
        rows = await until(api.database, all_in(*ENDED))
    # The odd one goes alone; those after it become one, as do those of the other user.
    assert [row.status for row in rows].count("superseded") == 2 + 3
    assert len(endpoint.arrivals) == 2 + 3
    assert odd in {arrival.event_id for arrival in endpoint.arrivals}
