"""Idempotency keys: a POST repeated under one key is done once, for a day, for one admin."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.http.models import IdempotencyKey
from flowkick.storage.database import Database
from tests.conftest import client, new_admin
from tests.support.server import Api, running_server

PATH = "/api/admin/webhooks"
BODY: dict[str, Any] = {"url": "http://127.0.0.1:9/hook", "events": ["*"]}


class MovableClock:
    """The system's clock, some time ahead."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return system_clock() + self.ahead


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest_asyncio.fixture
async def process(settings: Settings, database: Database, clock: MovableClock) -> Process:
    return Process(settings.model_copy(update={"worker": False}), clock)


@pytest_asyncio.fixture
async def second(settings: Settings, database: Database, api: Api) -> AsyncIterator[Api]:
    """Another process on the same database."""
    other = Process(settings.model_copy(update={"worker": False}))
    async with running_server(other) as url, client(url, api.key) as http:
        yield Api(url, api.admin_id, api.key, http, database)


async def post(api: Api, key: str, body: Any = BODY, path: str = PATH) -> httpx.Response:
    return await api.http.post(path, json=body, headers={"Idempotency-Key": key})


async def count(api: Api) -> int:
    number: int = (await api.http.get(PATH)).json()["count"]
    return number


async def test_the_second_answer_is_the_first_with_its_secret(api: Api) -> None:
    first, again = await post(api, "one"), await post(api, "one")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await count(api) == 1


async def test_the_answer_is_kept_sealed(api: Api) -> None:
    secret = (await post(api, "one")).json()["webhook"]["secret"]
    async with api.database.system_reading() as session:
        row = await session.get(IdempotencyKey, (api.admin_id, "one"))
    assert row is not None
    assert secret not in row.answer


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_files_of_the_database_hold_no_answer_in_the_clear(
    api: Api, tmp_path: Path
) -> None:
    webhook = (await post(api, "one")).json()["webhook"]
    token = (await post(api, "two", {}, "/api/admin/connections")).json()["token"]
    names = ("flowkick.db", "flowkick.db-wal")
    files = {name: (tmp_path / name).read_bytes() for name in names}
    assert webhook["id"].encode() in b"".join(files.values())
    for secret in (webhook["secret"], webhook["signingSecret"], token):
        for form in (secret.encode(), base64.b64encode(secret.encode())[4:-4]):
            assert not [name for name, content in files.items() if form in content]


async def test_another_request_under_the_key_is_a_conflict(api: Api) -> None:
    first = (await post(api, "one")).json()["webhook"]
    others = [
        await post(api, "one", {**BODY, "name": "Other"}),
        await post(api, "one", {}, f"{PATH}/{first['id']}/rotate-secret"),
    ]
    for answer in others:
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    assert await count(api) == 1
    shown = (await api.http.get(f"{PATH}/{first['id']}")).json()["webhook"]
    assert shown["secretHint"] == first["secretHint"]


async def test_requests_at_once_are_done_once(api: Api, second: Api) -> None:
    answers = await asyncio.gather(*(post(one, "race") for one in (api, second) * 10))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert await count(api) == 1


async def test_what_was_refused_or_failed_is_not_kept(api: Api) -> None:
    assert (await post(api, "one", {**BODY, "name": ""})).status_code == 400
    assert (await post(api, "one", {}, f"{PATH}/whs_0/rotate-secret")).status_code == 404
    assert (await post(api, "one")).status_code == 201


async def test_the_key_belongs_to_its_admin(api: Api, database: Database) -> None:
    first = await post(api, "one")
    _, key = await new_admin(database)
    async with client(api.url, key) as http:
        other = await http.post(PATH, json=BODY, headers={"Idempotency-Key": "one"})
    assert other.status_code == 201
    assert "idempotency-replayed" not in other.headers
    assert other.json()["webhook"]["id"] != first.json()["webhook"]["id"]
    assert (await post(api, "one")).content == first.content


async def test_a_key_is_kept_for_a_day(api: Api, clock: MovableClock) -> None:
    first = await post(api, "one")
    clock.ahead = timedelta(hours=23, minutes=59)
    assert (await post(api, "one")).content == first.content
    clock.ahead = timedelta(hours=24, minutes=1)
    fresh = await post(api, "one")
    assert "idempotency-replayed" not in fresh.headers
    assert await count(api) == 2


async def test_another_admins_expired_key_is_left_alone(
    api: Api, database: Database, clock: MovableClock
) -> None:
    await post(api, "one")
    admin_id, key = await new_admin(database)
    clock.ahead = timedelta(hours=25)
    async with client(api.url, key) as http:
        await http.post(PATH, json=BODY, headers={"Idempotency-Key": "one"})
    async with database.system_reading() as session:
        for owner in (api.admin_id, admin_id):
            assert await session.get(IdempotencyKey, (owner, "one")) is not None


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9\x01"])
async def test_what_can_not_be_a_key_is_refused(api: Api, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    answer = await api.http.post(PATH, json=BODY, headers=headers)
    assert answer.status_code == 400
    assert await count(api) == 0


async def test_other_methods_ignore_the_key(api: Api) -> None:
    webhook = (await post(api, "one")).json()["webhook"]
    for name in ("First", "Second"):
        answer = await api.http.patch(
            f"{PATH}/{webhook['id']}", json={"name": name}, headers={"Idempotency-Key": "one"}
        )
        assert answer.json()["webhook"]["name"] == name
