"""However many scan one code at once, one of them has it."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx

from flowkick.core.clock import system_clock
from flowkick.core.errors import Conflict
from flowkick.qr_codes.service import scan_qr_code
from flowkick.storage.database import Database
from tests.history import made
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences

CONNECTIONS = 50
OVER_HTTP = 500
IN_ALL = 10_000
TOGETHER = 25


async def _scan_over_http(api: Api, code: str, number: int) -> list[int]:
    path = f"/api/admin/qr-codes/{code}/scan"
    answer = await api.http.post(path, json={"scannedBy": f"http-{number}"})
    if answer.status_code == 409:
        assert answer.json()["details"][0]["scannedBy"]
    return [answer.status_code]


async def _scan(database: Database, admin_id: str, code: str, number: int) -> list[int]:
    """Some scans in one transaction, since to begin one takes longer than to scan."""
    statuses = []
    async with database.transaction(admin_id) as session:
        for again in range(TOGETHER):
            by, now = f"service-{number}-{again}", system_clock()
            try:
                await scan_qr_code(session, code, by, source="api", now=now)
                statuses.append(200)
            except Conflict:
                statuses.append(409)
    return statuses


async def test_ten_thousand_scans_of_one_code_give_one_success(api: Api) -> None:
    """Five hundred come over HTTP, each alone; the rest call the service that HTTP calls."""
    user = await create(api.http)
    code = (await made.qr_code(api.http, userId=user["id"]))["code"]
    others = (IN_ALL - OVER_HTTP) // TOGETHER
    waiting = iter(range(OVER_HTTP + others))
    answers: Counter[int] = Counter()

    async def connection() -> None:
        for number in waiting:
            if number % 2 and number < 2 * others:
                answers.update(await _scan(api.database, api.admin_id, code, number))
            else:
                answers.update(await _scan_over_http(api, code, number))

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    assert answers == {200: 1, 409: IN_ALL - 1}
    told = await events(api.database, user["id"])
    assert [body["event"] for body in told] == ["user.created", "qr.created", "qr.scanned"]
    shown = (await made.get(api.http, f"/qr-codes/{code}"))["qrCode"]
    assert told[2]["data"]["scannedBy"] == shown["scannedBy"]


async def test_every_race_has_one_winner(api: Api) -> None:
    user = await create(api.http)
    for owner in ({}, {"userId": user["id"]}, {"userId": user["id"]}):
        code = (await made.qr_code(api.http, **owner))["code"]
        path = f"/api/admin/qr-codes/{code}"
        answers: list[httpx.Response] = await asyncio.gather(
            *(api.http.post(f"{path}/scan", json={"scannedBy": str(n)}) for n in range(20)),
            *(api.http.post(f"{path}/validate") for _ in range(5)),
            *(api.http.patch(path, json={"metadata": {"n": n}}) for n in range(5)),
            *(api.http.patch(f"/api/admin/users/{user['id']}", json={"lastName": n}) for n in "ab"),
        )
        assert Counter(a.status_code for a in answers[:20]) == {200: 1, 409: 19}
        assert {a.status_code for a in answers[20:25]} <= {200, 409}
        assert {a.status_code for a in answers[25:]} == {200}
    assert (await names(api.database)).count("qr.scanned") == 3
    told = await events(api.database, user["id"])
    assert sequences(told) == list(range(1, len(told) + 1))


async def test_one_of_those_who_take_the_same_code_at_once_has_it(api: Api) -> None:
    users = [await create(api.http) for _ in range(8)]
    answers = await asyncio.gather(
        *(
            api.http.post("/api/admin/qr-codes", json={"code": "one", "userId": user["id"]})
            for user in users
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert (await names(api.database)).count("qr.created") == 1


async def test_a_scan_that_is_sent_again_under_its_key_is_answered_alike(api: Api) -> None:
    code = (await made.qr_code(api.http))["code"]
    path, body = f"/api/admin/qr-codes/{code}/scan", {"scannedBy": "door"}
    answers = await asyncio.gather(
        *(api.http.post(path, json=body, headers={"Idempotency-Key": "1"}) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert (await api.http.post(path, json=body)).status_code == 409
    assert (await names(api.database)).count("qr.scanned") == 1
