"""The feed gives every event once, as it was pushed, in whatever order transactions commit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import delete, update

from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.core.errors import Gone
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookEvent
from flowkick.storage import migrate
from flowkick.storage.database import Database
from flowkick.webhooks import feed, outbox, payloads, samples
from flowkick.webhooks.outbox import Draft
from flowkick.webhooks.positions import bounds
from tests.conftest import client, new_admin
from tests.support import factories
from tests.support.endpoint import Endpoint
from tests.support.factories import user_created
from tests.support.server import Api, running_server

FEED = "/api/admin/events"


def tag_added(number: int) -> Draft:
    data = payloads.TagChanged(samples.USER, samples.TAG)
    return Draft("tag.added", data, samples.USER.id, number)


async def emit(database: Database, admin_id: str, drafts: Sequence[Draft]) -> list[str]:
    """Record events, and wait until no other transaction holds them back."""
    written = await factories.emit(database, admin_id, drafts)
    async with asyncio.timeout(60):
        while not await _is_given(database, admin_id, written[-1]):
            await asyncio.sleep(0.01)
    return written


async def _is_given(database: Database, admin_id: str, event_id: str) -> bool:
    async with database.reading(admin_id) as session:
        until = (await bounds(session)).settled
        event = await session.get_one(WebhookEvent, event_id)
        return event.position is not None and event.position < until


async def read(api: Api, **parameters: Any) -> dict[str, Any]:
    answer = await api.http.get(FEED, params=parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ids(page: dict[str, Any]) -> list[str]:
    return [event["metadata"]["eventId"] for event in page["events"]]


async def all_of(api: Api, cursor: str | None = None, **parameters: Any) -> list[str]:
    """Everything that can be read now, from a cursor on."""
    found: list[str] = []
    while True:
        after = {} if cursor is None else {"after": cursor}
        page = await read(api, **after, **parameters)
        found += ids(page)
        cursor = page["pagination"]["nextCursor"]
        if not page["pagination"]["hasMore"]:
            return found


async def test_it_gives_the_bytes_that_are_pushed(api: Api) -> None:
    async with Endpoint() as endpoint:
        hook = {"url": endpoint.url, "events": ["*"]}
        made = (await api.http.post("/api/admin/webhooks", json=hook)).json()["webhook"]
        person = {"firstName": "Zoë 😀", "tags": ["a"], "customFields": {"</x>": "1e400"}}
        user = (await api.http.post("/api/admin/users", json=person)).json()["user"]
        await api.http.patch(f"/api/admin/users/{user['id']}", json={"tags": ["b"], "phone": "1"})
        await api.http.post(f"/api/admin/webhooks/{made['id']}/test")
        arrived = {one.event_id: one.body for one in await endpoint.wait_for(4)}
    answer = await api.http.get(FEED)
    assert answer.headers["content-type"] == "application/json"
    events = msgspec.json.decode(answer.content, type=dict[str, msgspec.Raw])["events"]
    given = [bytes(raw) for raw in msgspec.json.decode(events, type=list[msgspec.Raw])]
    named = [msgspec.json.decode(body)["event"] for body in given]
    assert named == ["user.created", "user.updated", "tag.added"]  # not the test
    for body in given:
        assert body == arrived[msgspec.json.decode(body)["metadata"]["eventId"]]


async def test_pages_types_and_cursors(api: Api) -> None:
    empty = await read(api)
    assert empty["events"] == []
    assert empty["removed"] == 0
    assert empty["pagination"]["hasMore"] is False
    begin = empty["pagination"]["nextCursor"]
    users = await emit(api.database, api.admin_id, [user_created(n) for n in range(3)])
    tags = await emit(api.database, api.admin_id, [tag_added(n) for n in range(30)])
    more = await emit(api.database, api.admin_id, [user_created(n) for n in range(2)])
    other_id, other_key = await new_admin(api.database)
    await emit(api.database, other_id, [user_created()])
    everything = [*users, *tags, *more]
    for limit in (1, 7, 35, 100):
        assert await all_of(api, limit=limit) == everything
        assert await all_of(api, begin, limit=limit) == everything
    assert await all_of(api, types="user.created,booking.*", limit=2) == [*users, *more]
    assert await all_of(api, types=["tag.*", "user.updated"]) == tags
    assert await all_of(api, types="*") == everything
    assert await all_of(api, types="qr.scanned") == []
    end = (await read(api, after="now"))["pagination"]["nextCursor"]
    assert await all_of(api, end) == []
    last = await emit(api.database, api.admin_id, [user_created()])
    assert await all_of(api, end) == last
    assert await all_of(api, (await read(api, types="qr.*"))["pagination"]["nextCursor"]) == []
    async with client(api.url, other_key) as http:
        assert len((await http.get(FEED, params={"after": begin})).json()["events"]) == 1
    for wrong in (
        {"after": "x"},
        {"after": "f1."},
        {"after": "f1.é"},
        {"after": "f1.WzEsIiJd"},
        {"after": feed.Place(-(2**63), "", 0).encode()},
        {"after": feed.Place(2**63, "", 0).encode()},
        {"after": feed.Place(1, "\x00", 0).encode()},
        {"types": "user.exploded"},
        {"types": ""},
        {"limit": 0},
        {"limit": 1001},
        {"wait": 31},
        {"wait": -1},
        {"before": begin},
    ):
        answer = await api.http.get(FEED, params=wrong)
        assert answer.status_code == 400, wrong
        assert next(iter(wrong)) in answer.text


async def test_a_rare_event_is_looked_for_a_stretch_at_a_time(database: Database) -> None:
    admin_id, _ = await new_admin(database)
    await emit(database, admin_id, [tag_added(n) for n in range(25)])
    wanted = await emit(database, admin_id, [user_created()])
    place, pages = None, []
    async with database.reading(admin_id) as session:
        for _ in range(4):
            page = await feed.read_page(
                session, place, names=["user.created"], limit=5, now=system_clock(), stretch=10
            )
            pages.append((len(page.bodies), page.has_more))
            place = page.next
    assert pages == [(0, True), (0, True), (1, False), (0, False)]
    assert wanted


async def test_what_is_no_longer_kept_is_counted(api: Api) -> None:
    kept = await emit(api.database, api.admin_id, [user_created(n) for n in range(5)])
    async with api.database.transaction(api.admin_id) as session:
        for event_id in kept[1:3]:
            await session.execute(
                update(WebhookEvent).where(WebhookEvent.id == event_id).values(body=b""),
                execution_options={"synchronize_session": False},
            )
    page = await read(api)
    assert (ids(page), page["removed"]) == ([kept[0], *kept[3:]], 2)
    pages = [await read(api, limit=2)]
    pages.append(await read(api, limit=2, after=pages[0]["pagination"]["nextCursor"]))
    assert [(ids(page), page["removed"]) for page in pages] == [([kept[0]], 1), ([kept[3]], 1)]


async def test_a_reader_goes_on_rightly_though_all_it_read_was_removed(api: Api) -> None:
    await emit(api.database, api.admin_id, [user_created(n) for n in range(5)])
    cursor = (await read(api))["pagination"]["nextCursor"]
    async with api.database.transaction(api.admin_id) as session:
        await session.execute(delete(WebhookEvent))
    (event_id,) = await emit(api.database, api.admin_id, [user_created()])
    assert await all_of(api, cursor) == [event_id]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_cursor_of_a_database_that_is_no_more_is_refused(api: Api) -> None:
    cursor = feed.Place(2**62, "evt_1", 0).encode()
    answer = await api.http.get(FEED, params={"after": cursor})
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")


async def test_a_cursor_of_what_may_be_removed_by_now_is_refused(database: Database) -> None:
    admin_id, _ = await new_admin(database)
    await emit(database, admin_id, [user_created(n) for n in range(3)])
    now, week = system_clock(), timedelta(days=7)
    async with database.reading(admin_id) as session:
        begin = partial(feed.read_page, session, names=None, limit=2, kept_for=week)
        page = await begin(None, now=now)
        for place in (page.next, (await begin(page.next, now=now)).next):
            assert (await begin(place, now=now + week - timedelta(minutes=5))).removed == 0
            with pytest.raises(Gone, match="begin anew"):
                await begin(place, now=now + week + timedelta(minutes=5))


async def test_a_cursor_older_than_what_is_kept_is_gone(api: Api, settings: Settings) -> None:
    for days, status in ((settings.retention_days - 1, 200), (settings.retention_days + 1, 410)):
        moment = system_clock() - timedelta(days=days)
        cursor = feed.Place(1, "evt_1", int(moment.timestamp() * 1000)).encode()
        answer = await api.http.get(FEED, params={"after": cursor})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_events_out_of_a_dump_come_first_once_the_database_was_migrated(api: Api) -> None:
    restored = await emit(api.database, api.admin_id, [user_created(n) for n in range(2)])
    restored += await emit(api.database, api.admin_id, [user_created(n) for n in range(2)])
    high = WebhookEvent.position + 2**40
    async with api.database.transaction(api.admin_id) as session:
        await session.execute(
            update(WebhookEvent).values(position=high),
            execution_options={"synchronize_session": False},
        )
    new = await emit(api.database, api.admin_id, [user_created()])
    assert await all_of(api) == new
    for _ in range(2):
        await migrate.upgrade(api.database)
        assert await all_of(api, limit=1) == [*restored, *new]


async def _write(database: Database, admin_id: str, luck: random.Random) -> list[str]:
    """Transactions that record events and stay open for a while before they commit."""
    written: list[str] = []
    for _ in range(7):
        async with database.transaction(admin_id) as session:
            for _ in range(luck.randint(1, 3)):
                drafts = [user_created()] * luck.choice((1, 2, 25))
                written += await outbox.emit(session, drafts, source="api", now=system_clock())
                await asyncio.sleep(luck.random() * 0.02)
    return written


async def _follow(api: Api, done: asyncio.Event, **parameters: Any) -> list[str]:
    """What a reader gets who goes on from cursor to cursor until all is there."""
    seen: list[str] = []
    last_look = False
    cursor: dict[str, str] = {}
    while True:
        page = await read(api, **cursor, **parameters)
        seen += ids(page)
        cursor = {"after": page["pagination"]["nextCursor"]}
        if last_look and not page["events"] and not page["pagination"]["hasMore"]:
            return seen
        last_look = done.is_set()


async def test_no_reader_misses_or_repeats_an_event_while_writers_commit_in_any_order(
    api: Api, settings: Settings
) -> None:
    done = asyncio.Event()
    other_process = Database(settings)
    readers = [
        asyncio.create_task(_follow(api, done, limit=limit, wait=wait, **types))
        for limit, wait, types in ((1, 0, {}), (10, 1, {"types": "user.*"}), (1000, 1, {}))
    ]
    written = await asyncio.gather(
        *(
            _write((api.database, other_process)[number % 2], api.admin_id, random.Random(number))
            for number in range(6)
        )
    )
    done.set()
    expected = sorted(event_id for one in written for event_id in one)
    read_by_all = await asyncio.gather(*readers)
    await other_process.close()
    for seen in read_by_all:
        assert len(seen) == len(set(seen))
        assert sorted(seen) == expected
    assert read_by_all[0] == read_by_all[1] == read_by_all[2]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_an_event_of_a_slow_transaction_is_not_passed_by(
    api: Api, settings: Settings
) -> None:
    other_process = Database(settings)
    before = await emit(api.database, api.admin_id, [user_created()])
    page = await read(api)
    assert ids(page) == before
    async with other_process.transaction(api.admin_id) as slow:
        early = await outbox.emit(slow, [user_created()], source="api", now=system_clock())
        late = await factories.emit(api.database, api.admin_id, [user_created()])
        cursor = {"after": page["pagination"]["nextCursor"]}
        waited = await read(api, **cursor, wait=1)
        assert ids(waited) == []  # given now, the slow one would come behind the cursor
        cursor = {"after": waited["pagination"]["nextCursor"]}
        waiting = asyncio.create_task(read(api, **cursor, wait=30))
        now = (await read(api, after="now"))["pagination"]["nextCursor"]
    assert ids(await waiting) == [*early, *late]
    assert ids(await read(api, after=now, wait=30)) == [*early, *late]
    await other_process.close()


async def _waiting(
    api: Api, process: Process, count: int
) -> Sequence[asyncio.Task[dict[str, Any]]]:
    """So many requests that wait for what comes."""
    tasks = [asyncio.create_task(read(api, wait=30)) for _ in range(count)]
    await _until_waiting(process, count)
    return tasks


async def _until_waiting(process: Process, count: int) -> None:
    async with asyncio.timeout(60):
        while process.doorbell.waiters != count:
            await asyncio.sleep(0.01)


async def test_those_who_wait_hold_no_connection_and_all_hear_of_a_commit(
    api: Api, settings: Settings, process: Process
) -> None:
    # More than there are connections, and as many as one admin may have.
    tasks = await _waiting(api, process, 20)
    refused = await api.http.get(FEED, params={"wait": 5})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    other_process = Database(settings)
    _, other_key = await new_admin(other_process)
    async with client(api.url, other_key) as http:
        assert (await http.get(FEED, params={"wait": 1})).json()["events"] == []
    assert not any(task.done() for task in tasks)
    (event_id,) = await emit(other_process, api.admin_id, [user_created()])
    for page in await asyncio.gather(*tasks):
        assert ids(page) == [event_id]
    await other_process.close()


async def test_the_documented_reader_gets_all_that_there_is_and_all_that_comes(api: Api) -> None:
    names: dict[str, Any] = {}
    page = (Path(__file__).parents[2] / "docs" / "receivers.md").read_text()
    (snippet,) = (part for part in page.split("```python\n") if "def follow" in part)
    exec(snippet.partition("```")[0], names)  # noqa: S102  # the docs' own lines
    seen: list[str] = []
    cursors: list[str] = []

    def handle(events: list[dict[str, Any]], cursor: str) -> None:
        seen.extend(event["metadata"]["eventId"] for event in events)
        cursors.append(cursor)
        if len(seen) == 4:
            raise KeyboardInterrupt

    def run() -> None:
        with (
            httpx.Client(base_url=api.url, headers=api.http.headers, timeout=60) as http,
            suppress(KeyboardInterrupt),
        ):
            names["follow"](http, None, handle)

    written = await emit(api.database, api.admin_id, [user_created()] * 2)
    running = asyncio.create_task(asyncio.to_thread(run))
    async with asyncio.timeout(60):
        while len(seen) < 2:
            await asyncio.sleep(0.01)
    for _ in range(2):
        written += await emit(api.database, api.admin_id, [user_created()])
    await running
    assert seen == written


async def test_a_place_is_free_again_when_its_client_has_gone(api: Api, process: Process) -> None:
    for task in await _waiting(api, process, 3):
        task.cancel()
    await _until_waiting(process, 0)


async def test_a_server_that_stops_lets_those_go_who_wait(
    process: Process, database: Database
) -> None:
    _, key = await new_admin(database)
    async with client("", key) as http:
        async with running_server(process) as url:
            waiting = asyncio.create_task(http.get(f"{url}{FEED}", params={"wait": 30}))
            await _until_waiting(process, 1)
        answer = await waiting
    assert (answer.status_code, answer.json()["events"]) == (200, [])
