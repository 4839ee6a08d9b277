"""An erasure happens as a whole or not at all, though its process is killed in the middle."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from flowkick.core.settings import Settings
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.privacy.whole_database import all_rows, holding
from tests.support.commands import Machine
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import create_subscription
from tests.support.killing import environment, served_until_killed

PEOPLE = 60
USERS = "/api/admin/users"


def trace(number: int) -> str:
    return f"quillonverity{number:03}x"


def whole_name(number: int) -> dict[str, object]:
    name = trace(number)
    fields = {"favorite_drink": f"lapsang of {name}"}
    return {"manychatId": f"mc{number}", "firstName": name, "customFields": fields}


async def erase(http: httpx.AsyncClient, ids: list[str]) -> None:
    """Erase them one after the other, until the server is gone."""
    for id_ in ids:
        try:
            answer = await http.delete(f"{USERS}/{id_}")
        except httpx.TransportError:
            return
        assert answer.status_code == 200, answer.text


def _erased(arrivals: list[Arrival]) -> set[str]:
    told = [arrival for arrival in arrivals if arrival.event == "user.deleted"]
    return {arrival.json()["data"]["user"]["id"] for arrival in told}


async def test_what_is_left_of_a_person_is_everything_or_nothing(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    given = environment(
        settings.database_url, FLOWKICK_LOG_LEVEL="debug", FLOWKICK_DATA_DIR=str(tmp_path / "data")
    )
    machine = Machine(tmp_path, given)
    admin_id, key = await new_admin(database)
    logged = []
    async with Endpoint() as endpoint:
        await create_subscription(database, settings.key_ring, admin_id, endpoint.url)
        async with served_until_killed(machine, key) as served:
            people = {"users": [whole_name(number) for number in range(PEOPLE)]}
            made = await served.http.post(f"{USERS}/batch", json=people)
            ids = [one["id"] for one in made.json()["results"]]
            for number in range(0, PEOPLE, 10):
                query = {"search": trace(number)}
                csv = await served.http.get("/api/admin/export/users/csv", params=query)
                assert trace(number) in csv.text
            await endpoint.wait_for(PEOPLE)
            before = await all_rows(database)
            erasing = [asyncio.create_task(erase(served.http, ids[n::4])) for n in range(4)]
            async with asyncio.timeout(60):
                while len(_erased(endpoint.arrivals)) < PEOPLE // 6:
                    await asyncio.sleep(0.001)
            served.process.kill()
            await asyncio.wait(erasing)
        logged.append(served.logged)

        after = await all_rows(database)
        left = [n for n, id_ in enumerate(ids) if any(id_ in line for line in after["User"])]
        assert 0 < len(left) < PEOPLE
        for number, id_ in enumerate(ids):
            if number not in left:
                assert holding(after, [trace(number)]) == []
                continue
            for table in ("User", "CustomFieldValue", "WebhookEvent", "WebhookDelivery"):
                lines = [line for line in before[table] if id_ in line]
                assert [line for line in after[table] if id_ in line] == lines

        async with served_until_killed(machine, key) as served:
            await erase(served.http, [ids[number] for number in left])
            async with asyncio.timeout(60):
                while not await _all_is_done(served.http, endpoint, ids):
                    await asyncio.sleep(0.1)
            assert holding(await all_rows(database), [trace(n) for n in range(PEOPLE)]) == []
        logged.append(served.logged)
    assert (tmp_path / "data" / "exports").is_dir()
    exports = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    texts = [*logged, *(path.read_bytes().decode(errors="replace") for path in exports)]
    assert all("request" in log for log in logged)  # they tell of what was asked
    assert not any("quillonverity" in text for text in texts)


async def _all_is_done(http: httpx.AsyncClient, endpoint: Endpoint, ids: list[str]) -> bool:
    answer = await http.get("/api/admin/erasures", params={"limit": 100})
    erasures = answer.json()["erasures"]
    assert len(erasures) == len(ids)
    done = all(erasure["status"] == "completed" for erasure in erasures)
    return done and _erased(endpoint.arrivals) == set(ids)
