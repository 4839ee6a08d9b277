"""A contact of which only the id is pushed is read from ManyChat, where a connection has a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from flowkick.connectors.manychat_api import ManyChatApi, NotReadError
from flowkick.connectors.models import Connection
from flowkick.core.settings import Settings
from tests.support.manychat import GOOD_TOKEN, ManyChat, contact
from tests.support.server import Api
from tests.users.recorded import events

CONNECTIONS = "/api/admin/connections"
CONTACT = "/api/manychat/contact"
ID = "9007199254740993"  # beyond 2^53


@pytest_asyncio.fixture
async def manychat() -> AsyncIterator[ManyChat]:
    async with ManyChat() as manychat:
        yield manychat


@pytest.fixture
def settings(settings: Settings, manychat: ManyChat) -> Settings:
    return settings.model_copy(update={"worker": False, "manychat_url": manychat.url})


async def connect(api: Api, token: str | None = GOOD_TOKEN) -> httpx.AsyncClient:
    """A client that pushes with a new connection's token."""
    body = {} if token is None else {"apiToken": token}
    made = await api.http.post(CONNECTIONS, json=body)
    assert made.status_code == 201, made.text
    assert made.json()["connection"]["apiTokenHint"] == (token and token[-4:])
    pusher = httpx.AsyncClient(base_url=api.url, timeout=30)
    pusher.headers["X-Flowkick-Token"] = made.json()["token"]
    return pusher


async def user_of(api: Api, answer: httpx.Response) -> dict[str, Any]:
    found = await api.http.get(f"/api/admin/users/{answer.json()['user']['id']}")
    user: dict[str, Any] = found.json()["user"]
    return user


async def test_the_whole_contact_is_read_and_the_same_again_tells_nothing(
    api: Api, manychat: ManyChat
) -> None:
    manychat.contacts[ID] = contact(
        ID,
        first_name="Zoë",
        ig_id=2**60,
        tags=[{"id": 3, "name": "vip"}],
        custom_fields=[{"id": 7, "name": "drink", "type": "text", "value": "tea"}],
    )
    async with await connect(api) as pusher:
        first = await pusher.post(CONTACT, json={"subscriber_id": ID})
        again = await pusher.post(CONTACT, json={"data": {"id": int(ID)}})
        manychat.contacts[ID]["first_name"] = "Zoe"
        changed = await pusher.post(CONTACT, json={"key": f"user:{ID}"})
        whole = await pusher.post(CONTACT, json={"id": ID, "first_name": "Zo"})
    assert [answer.json()["status"] for answer in (first, again, changed, whole)] == [
        "created",
        "unchanged",
        "updated",
        "updated",
    ]
    assert {answer.json()["warning"] for answer in (first, again, changed, whole)} == {None}
    assert manychat.asked == [ID] * 3  # what was pushed whole is not asked for
    user = await user_of(api, first)
    assert (user["firstName"], user["instagramId"]) == ("Zo", str(2**60))
    assert [tag["name"] for tag in user["tags"]] == ["vip"]
    assert user["customFields"] == {"drink": "tea"}
    told = await events(api.database, user["id"])
    assert [body["event"] for body in told] == ["user.created", "user.updated", "user.updated"]


def _text(status: int, text: str, **headers: str) -> Callable[[], web.Response]:
    return lambda: web.Response(status=status, text=text, headers=headers)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (_text(429, "slow"), "slow down"),
        (_text(502, "<html>"), "502 and no JSON object"),
        (_text(200, "not JSON"), "200 and no JSON object"),
        (_text(200, "[" * 100_000), "no JSON object"),
        (_text(200, "x" * 1_100_000), "larger than 1 MiB"),
        (_text(302, "", Location="/elsewhere"), "302"),
        (_text(200, '{"status": "error", "message": "Not now"}'), "refused with 200: Not now"),
        (_text(200, '{"status": "success", "data": {"id": "8"}}'), "another contact"),
        (_text(200, '{"status": "success", "data": null}'), "refused with 200"),
        (None, "refused with 400: Subscriber does not exist"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_contact_that_can_not_be_read_is_kept_by_its_id(
    api: Api, manychat: ManyChat, answer: Callable[[], web.Response] | None, says: str
) -> None:
    manychat.answer = answer and answer()
    async with await connect(api) as pusher:
        pushed = await pusher.post(CONTACT, json={"subscriber_id": ID})
    assert pushed.status_code == 200
    assert pushed.json()["status"] == "created"
    assert pushed.json()["warning"].startswith("Only the contact's id is kept: ManyChat")
    assert says in pushed.json()["warning"]
    assert (await user_of(api, pushed))["manychatId"] == ID


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_key_that_is_refused_is_told_and_no_key_asks_nobody(
    api: Api, manychat: ManyChat
) -> None:
    async with await connect(api, "7654321:wrong-key") as pusher:
        answer = await pusher.post(CONTACT, json={"id": ID})
    assert "refused the connection's API token" in answer.json()["warning"]
    assert "wrong-key" not in answer.text
    async with await connect(api, None) as pusher:
        assert (await pusher.post(CONTACT, json={"id": ID})).json()["warning"] is None
    assert (await api.http.post(CONTACT, json={"id": ID})).json()["warning"] is None
    assert manychat.asked == [ID]


async def test_others_write_while_manychat_is_waited_for(api: Api, manychat: ManyChat) -> None:
    manychat.delay = 60
    async with await connect(api) as pusher:
        headers = {"Idempotency-Key": "one"}
        pushing = asyncio.create_task(pusher.post(CONTACT, json={"id": ID}, headers=headers))
        await manychat.begun.wait()
        other = await api.http.post("/api/admin/users", json={"manychatId": ID})
        assert other.status_code == 201
        assert not pushing.done()
        answer = await pushing
        assert "did not answer within 5 seconds" in answer.json()["warning"]
        assert answer.json()["status"] == "unchanged"
        again = await pusher.post(CONTACT, json={"id": ID}, headers=headers)
    assert again.content == answer.content
    assert manychat.asked == [ID]


async def test_a_key_is_stored_sealed_and_never_shown(api: Api) -> None:
    async with await connect(api):
        pass
    listed = await api.http.get(CONNECTIONS)
    assert GOOD_TOKEN not in listed.text
    async with api.database.system_reading() as session:
        row = await session.get(Connection, listed.json()["connections"][0]["id"])
    assert row is not None
    assert row.api_token
    assert GOOD_TOKEN not in row.api_token
    for bad in ("", "short", "with space " * 3, "ünï" * 9, "x" * 501, 7):
        refused = await api.http.post(CONNECTIONS, json={"apiToken": bad})
        assert refused.status_code == 400, bad
        assert refused.json()["details"][0]["field"] == "apiToken"


async def test_nobody_there_is_told_as_such(manychat: ManyChat) -> None:
    for url in ("http://127.0.0.1:9", manychat.url.replace("http:", "https:")):
        with pytest.raises(NotReadError, match="can't be reached"):
            await ManyChatApi(url).get_info(GOOD_TOKEN, ID)


async def test_a_key_asks_ten_times_a_second_and_waits_when_it_is_told_to(
    manychat: ManyChat,
) -> None:
    """On a clock that stands still, each call's turn lies further ahead, up to two seconds."""
    api = ManyChatApi(manychat.url, clock=lambda: 0.0)
    manychat.contacts[ID] = contact(ID)
    results = await asyncio.gather(
        *(api.get_info(GOOD_TOKEN, ID) for _ in range(25)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, NotReadError)]
    assert (len(manychat.asked), len(refused)) == (20, 5)
    assert (await ManyChatApi(manychat.url).get_info(GOOD_TOKEN, ID))["id"] == ID

    manychat.answer = web.json_response({}, status=429, headers={"Retry-After": "30"})
    slowed = ManyChatApi(manychat.url, clock=lambda: 0.0)
    for _ in range(2):
        with pytest.raises(NotReadError, match="slow down"):
            await slowed.get_info(GOOD_TOKEN, ID)
    assert len(manychat.asked) == 22  # the second one was not sent
