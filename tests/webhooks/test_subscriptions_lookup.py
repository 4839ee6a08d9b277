"""The name of a new target is looked up while nobody waits for the database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import pytest_asyncio

from flowkick.app import Process
from flowkick.core.settings import Settings
from flowkick.delivery.targets import TargetGuard
from flowkick.storage.database import Database
from tests.support.server import Api
from tests.webhooks.test_subscriptions import PATH, create

BODY = {"url": "https://crm.example/hook", "events": ["*"]}


class SlowNames:
    """A name server that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.address = "93.184.216.34"
        self.questions = 0

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        self.questions += 1
        self.asked.set()
        await self.answer.wait()
        return [self.address]


@pytest.fixture
def names() -> SlowNames:
    return SlowNames()


@pytest_asyncio.fixture
async def process(settings: Settings, database: Database, names: SlowNames) -> Process:
    process = Process(settings)
    process.guard = TargetGuard(settings.allowed_targets, lookup=names)
    return process


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_others_write_while_a_name_is_looked_up(
    api: Api, names: SlowNames, method: str
) -> None:
    made = await create(api, url="http://127.0.0.1:9/hook") if method == "PATCH" else None
    path = PATH if made is None else f"{PATH}/{made['id']}"
    saving = asyncio.create_task(
        api.http.request(method, path, json=BODY, headers={"Idempotency-Key": "one"})
    )
    await names.asked.wait()

    other = await api.http.post("/api/admin/users", json={"firstName": "Ana"})

    assert other.status_code == 201, other.text
    assert not saving.done()
    names.answer.set()
    assert (await saving).status_code == (201 if method == "POST" else 200)


async def test_an_answer_that_is_kept_asks_nobody(api: Api, names: SlowNames) -> None:
    names.answer.set()
    headers = {"Idempotency-Key": "one"}
    first = await api.http.post(PATH, json=BODY, headers=headers)
    names.address = "10.0.0.1"

    again = await api.http.post(PATH, json=BODY, headers=headers)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert names.questions == 1


async def test_a_body_that_does_not_fit_asks_nobody(api: Api, names: SlowNames) -> None:
    answer = await api.http.post(PATH, json={**BODY, "events": ["nothing"]})
    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == "events"
    assert names.questions == 0
