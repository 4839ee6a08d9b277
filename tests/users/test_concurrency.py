"""Whoever writes at once, the events of a user are numbered without gaps and changes chain."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import event

from flowkick.core.clock import system_clock
from flowkick.core.errors import Conflict
from flowkick.storage.database import Database
from flowkick.users.service import create_user
from flowkick.users.writing import Desired
from tests.conftest import new_admin
from tests.support.postgres import Cluster
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences

USERS = "/api/admin/users"


async def test_changes_of_one_user_chain(api: Api) -> None:
    user = await create(api.http, firstName="start")
    path = f"{USERS}/{user['id']}"
    answers = await asyncio.gather(
        *(
            api.http.patch(path, json={"firstName": str(number), "tags": [f"t{number}"]})
            for number in range(20)
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    told = await events(api.database, user["id"])
    assert sequences(told) == list(range(1, 42))
    changes = [b["data"]["changes"]["firstName"] for b in told if b["event"] == "user.updated"]
    assert changes[0]["old"] == "start"
    assert all(before["new"] == after["old"] for before, after in pairwise(changes))
    now = (await api.http.get(path)).json()["user"]
    assert now["firstName"] == changes[-1]["new"]
    assert len(now["tags"]) == 20


async def test_one_of_those_who_add_the_same_manychat_id_at_once_wins(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.http.post(USERS, json={"manychatId": "1"}) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert await names(api.database) == ["user.created"]


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_meets_a_user_that_is_just_being_deleted_is_told_so_or_added(
    database: Database, cluster: Cluster, comes_back: bool
) -> None:
    """Another process deletes the user between the refused INSERT and the look for its id."""
    admin_id, _ = await new_admin(database)
    now, desired = system_clock(), Desired(values={"manychat_id": "7"})
    name = database.url.database or ""
    async with database.transaction(admin_id) as session:
        await create_user(session, desired, source="api", now=now)

    def elsewhere(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith('SELECT "User".id'):
            cluster.execute('UPDATE "User" SET "manychatId" = NULL', database=name)
        elif comes_back and statement.startswith('INSERT INTO "User"'):
            cluster.execute('UPDATE "User" SET "manychatId" = 7', database=name)

    event.listen(database.writer.sync_engine, "before_cursor_execute", elsewhere)
    if comes_back:  # every time: in the end it is told
        with pytest.raises(Conflict, match="until just now"):
            async with database.transaction(admin_id) as session:
                await create_user(session, desired, source="api", now=now)
        return
    async with database.transaction(admin_id) as session:
        user = await create_user(session, desired, source="api", now=now)
    assert user.manychat_id == "7"


async def test_one_of_those_who_take_the_same_manychat_id_at_once_wins(api: Api) -> None:
    users = [await create(api.http) for _ in range(8)]
    answers = await asyncio.gather(
        *(api.http.patch(f"{USERS}/{user['id']}", json={"manychatId": "1"}) for user in users)
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert (await names(api.database)).count("user.updated") == 1


async def test_batches_of_the_same_users_in_any_order_do_not_disturb_each_other(api: Api) -> None:
    users = [
        {"manychatId": str(number), "tags": [f"t{number % 7}"], "customFields": {f"f{number}": 1}}
        for number in range(60)
    ]
    orders = [users, users[::-1], users[30:] + users[:30], users[::3] + users]
    answers = await asyncio.gather(
        *(api.http.post(f"{USERS}/batch", json={"users": order}) for order in orders)
    )
    assert {answer.status_code for answer in answers} == {200}
    statuses = [result["status"] for answer in answers for result in answer.json()["results"]]
    assert statuses.count("created") == 60
    assert set(statuses) == {"created", "unchanged"}
    assert await names(api.database) == ["user.created"] * 60
