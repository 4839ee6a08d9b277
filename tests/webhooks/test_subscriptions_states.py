"""What becomes of a subscription's deliveries when it pauses, resumes, ends or changes secret."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from flowkick.core.clock import isoformat, parse_iso, system_clock
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookDelivery, WebhookSubscription
from flowkick.delivery.signing import body_signature, verify_standard
from tests.support import factories
from tests.support.endpoint import Arrival, Endpoint
from tests.support.server import Api
from tests.webhooks.test_subscriptions import PATH, create, get


async def with_deliveries(api: Api, *states: str, **values: Any) -> dict[str, Any]:
    """A subscription with one delivery in each of these states (``leased`` is in flight)."""
    webhook = await create(api, events=["*"], **values)
    await factories.emit(
        api.database,
        api.admin_id,
        [factories.user_created(number) for number in range(len(states))],
    )
    rows = await factories.deliveries(api.database)
    due = system_clock() + timedelta(hours=1)
    async with api.database.system_transaction() as session:
        for row, state in zip(rows, states, strict=True):
            leased = state == "leased"
            status = "pending" if leased else state
            waits = status in {"pending", "retrying"}
            await session.execute(
                update(WebhookDelivery)
                .where(WebhookDelivery.id == row.id)
                .values(
                    status=status,
                    due_at=due if waits else None,
                    lease_id="lease" if leased else None,
                )
            )
    return webhook


async def states(api: Api) -> list[str]:
    return [row.status for row in await factories.deliveries(api.database)]


async def patch(api: Api, webhook: dict[str, Any], **values: Any) -> dict[str, Any]:
    response = await api.http.patch(f"{PATH}/{webhook['id']}", json=values)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_pausing_holds_what_waits_and_leaves_what_is_in_flight_or_done(api: Api) -> None:
    webhook = await with_deliveries(api, "pending", "retrying", "leased", "success", "failed")
    answer = await patch(api, webhook, active=False)
    assert answer["webhook"]["active"] is False
    assert answer["webhook"]["disabledReason"] is None
    rows = await factories.deliveries(api.database)
    assert [row.status for row in rows] == ["held", "held", "pending", "success", "failed"]
    assert [row.due_at is None for row in rows] == [True, True, False, True, True]


async def test_what_happens_while_paused_is_held(api: Api) -> None:
    await with_deliveries(api, active=False)
    await factories.emit(api.database, api.admin_id, [factories.user_created()])
    (row,) = await factories.deliveries(api.database)
    assert (row.status, row.due_at) == ("held", None)


async def test_resuming_releases_what_is_held(api: Api) -> None:
    webhook = await with_deliveries(api, "held", "held", "failed", active=False)
    async with api.database.system_transaction() as session:
        await session.execute(
            update(WebhookSubscription).values(disabled_reason="gone", consecutive_failures=7)
        )
    answer = await patch(api, webhook, active=True)
    assert (answer["released"], answer["discarded"]) == (2, 0)
    assert answer["webhook"]["disabledReason"] is None
    assert answer["webhook"]["consecutiveFailures"] == 0
    rows = await factories.deliveries(api.database)
    assert [row.status for row in rows] == ["pending", "pending", "failed"]
    assert all(row.due_at is not None and row.due_at <= system_clock() for row in rows[:2])


async def test_resuming_may_discard_what_is_held(api: Api) -> None:
    webhook = await with_deliveries(api, "held", "success", active=False)
    answer = await patch(api, webhook, active=True, held="discard")
    assert (answer["released"], answer["discarded"]) == (0, 1)
    shown = (await get(api, webhook))["deliveries"]
    assert [row["status"] for row in shown] == ["success", "failed"]
    assert "Discarded" in shown[1]["errorMessage"]


@pytest.mark.parametrize("body", [{"held": "discard"}, {"held": "discard", "active": False}])
async def test_held_without_resuming_is_refused(api: Api, body: dict[str, Any]) -> None:
    webhook = await with_deliveries(api, "held", active=False)
    response = await api.http.patch(f"{PATH}/{webhook['id']}", json=body)
    assert response.status_code == 400
    assert "active" in response.json()["error"]
    assert await states(api) == ["held"]


async def test_deleting_ends_what_is_unfinished_and_keeps_the_log(api: Api) -> None:
    webhook = await with_deliveries(api, "pending", "retrying", "held", "leased", "success")
    await api.http.delete(f"{PATH}/{webhook['id']}")
    rows = await factories.deliveries(api.database)
    assert [row.status for row in rows] == ["failed"] * 4 + ["success"]
    assert {row.note for row in rows[:4]} == {"The subscription was deleted."}
    assert all(row.due_at is None for row in rows)
    log = await api.http.get(f"/api/admin/deliveries/{rows[0].id}")
    assert log.json()["delivery"]["errorMessage"] == "The subscription was deleted."


async def test_both_secrets_sign_while_they_overlap(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook = await create(api, url=endpoint.url)
        answer = (await api.http.post(f"{PATH}/{webhook['id']}/rotate-secret")).json()
        new = answer["webhook"]["secret"]
        assert new != webhook["secret"]
        assert answer["webhook"]["secretHint"] == new[-4:]
        (former,) = (await factories.subscription(api.database, webhook["id"])).former_secrets
        left = parse_iso(former["until"]) - system_clock()
        assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
        await api.http.post(f"{PATH}/{webhook['id']}/test")
    (arrival,) = endpoint.arrivals
    assert arrival.headers["x-webhook-signature"] == body_signature(webhook["secret"], arrival.body)
    assert len(arrival.headers["webhook-signature"].split()) == 2
    for secret in (webhook["secret"], new):
        assert verify_standard(secret, arrival.headers, arrival.body, system_clock())


async def test_without_an_overlap_the_new_secret_signs_alone(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook = await create(api, url=endpoint.url)
        rotate = f"{PATH}/{webhook['id']}/rotate-secret"
        new = (await api.http.post(rotate, json={"overlapHours": 0})).json()["webhook"]
        await api.http.post(f"{PATH}/{webhook['id']}/test")
    (arrival,) = endpoint.arrivals
    assert arrival.headers["x-webhook-signature"] == body_signature(new["secret"], arrival.body)
    assert len(arrival.headers["webhook-signature"].split()) == 1
    key = base64.b64decode(new["signingSecret"].removeprefix("whsec_"))
    assert key == new["secret"].encode()


async def test_each_former_secret_signs_until_its_own_overlap_ends(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook = await create(api, url=endpoint.url)
        rotate, test = (f"{PATH}/{webhook['id']}/{what}" for what in ("rotate-secret", "test"))
        secrets = [webhook["secret"]]
        for hours in (2, 1, 3, 1, 1):
            answer = await api.http.post(rotate, json={"overlapHours": hours})
            secrets.append(answer.json()["webhook"]["secret"])
        await api.http.post(test)
        refused = await api.http.post(rotate)
        await _end_overlaps(api, webhook, of={0, 1})
        await api.http.post(test)
        assert (await api.http.post(rotate, json={"overlapHours": 1})).status_code == 200
        last = await api.http.post(rotate, json={"overlapHours": 0})
        await api.http.post(test)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "overlapHours 0" in refused.json()["error"]
    all_, some, one = endpoint.arrivals
    _assert_signed(all_, secrets)
    _assert_signed(some, secrets[2:])
    _assert_signed(one, [last.json()["webhook"]["secret"]])


async def _end_overlaps(api: Api, webhook: dict[str, Any], of: set[int]) -> None:
    async with api.database.system_transaction() as session:
        row = await session.get(WebhookSubscription, webhook["id"])
        assert row is not None
        past = isoformat(system_clock() - timedelta(seconds=1))
        row.former_secrets = [
            {**former, "until": past} if number in of else former
            for number, former in enumerate(row.former_secrets)
        ]


def _assert_signed(arrival: Arrival, secrets: list[str]) -> None:
    """By these secrets and no others; the body by the first of them alone."""
    assert len(arrival.headers["webhook-signature"].split()) == len(secrets)
    for secret in secrets:
        assert verify_standard(secret, arrival.headers, arrival.body, system_clock())
    assert arrival.headers["x-webhook-signature"] == body_signature(secrets[0], arrival.body)


@pytest.mark.parametrize("hours", [-1, 169, "24", None, 1.5])
async def test_an_overlap_lasts_0_to_168_hours(api: Api, hours: Any) -> None:
    webhook = await create(api)
    rotate = f"{PATH}/{webhook['id']}/rotate-secret"
    response = await api.http.post(rotate, json={"overlapHours": hours})
    assert response.status_code == 400
    assert response.json()["details"][0]["field"] == "overlapHours"


async def test_secrets_are_never_in_the_database_as_they_are(api: Api, settings: Settings) -> None:
    webhook = await create(api, headers={"X-Token": "header-secret-value"})
    rotated = (await api.http.post(f"{PATH}/{webhook['id']}/rotate-secret")).json()["webhook"]
    row = await factories.subscription(api.database, webhook["id"])
    stored = " ".join(str(getattr(row, column.key)) for column in row.__mapper__.column_attrs)
    for secret in (webhook["secret"], rotated["secret"], "header-secret-value", api.key):
        assert secret not in stored
    if settings.sqlite_path is not None:
        for path in settings.sqlite_path.parent.glob("flowkick.db*"):
            content = path.read_bytes()
            for secret in (webhook["secret"], rotated["secret"], "header-secret-value", api.key):
                assert secret.encode() not in content
