"""How long pages of users take over HTTP, beside the plain SQL for the same rows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp

from bench.delivery import open_process
from bench.people import START, STEP, load
from bench.plain import Plain, open_plain
from bench.serving import serve
from flowkick.core.clock import isoformat
from flowkick.storage.database import Database
from flowkick.users.cursors import Order, Position, encode
from flowkick.users.folding import searched

ROUNDS = 100
_LONGEST = 5.0
_TAG = """id IN (SELECT "userId" FROM "ContactTag" WHERE "tagId" =
    (SELECT id FROM "Tag" WHERE "adminId" = $1 AND "nameKey" = '{}'))"""
_FIELD = """id IN (SELECT "userId" FROM "CustomFieldValue" WHERE "fieldId" =
    (SELECT id FROM "CustomField" WHERE "adminId" = $1 AND name = '{}') AND "valueKey" = '{}')"""
_MATCH = """rowid IN (SELECT rowid FROM "UserSearch" WHERE "UserSearch" MATCH '{trigrams}')
    AND instr("searchText", '{letters}') > 0"""
_PAGE = """SELECT * FROM "User" WHERE "adminId" = $1 AND {where} ORDER BY {order} LIMIT 50"""
_NEWEST = '"createdAt" DESC, id DESC'


@dataclass(frozen=True)
class Asked:
    """A page: what is asked of the API, and of the database in plain SQL."""

    name: str
    params: dict[str, str]
    where: str = "true"
    order: str = _NEWEST
    values: Sequence[Any] = field(default=())


def asked(database: Database, users: int, place: Position, named: Position) -> list[Asked]:
    """All that is measured; `place` and `named` lie deep in two orders."""
    recent, old = (START + STEP * (users * share // 100) for share in (99, 30))
    changed = START + timedelta(seconds=59_000_000) + STEP * users

    def moment(of: Any) -> Any:
        return isoformat(of) if database.is_sqlite else of

    def search(word: str) -> str:
        letters = searched(word)
        if database.is_sqlite:
            trigrams = " ".join(f'"{letters[n : n + 3]}"' for n in range(len(letters) - 2))
            return _MATCH.format(trigrams=trigrams, letters=letters)
        return f"\"searchText\" LIKE '%{letters}%'"

    deep = {"cursor": encode(Order("createdAt", "desc"), place)}
    deep_name = {"cursor": encode(Order("lastName", "asc"), named)}
    by_name = {"sortBy": "lastName", "sortOrder": "asc"}
    beyond = '("createdAt", id) < ($2, $3)'
    named_beyond = '("lastNameKey", id) > ($2, $3)'
    name_order = '"lastNameKey", id'
    reference = f"R-{users // 2}"
    rare, common = f".{users // 3}@", "example"
    return [
        Asked("first page", {}),
        Asked("deep cursor", deep, beyond, values=(moment(place.key), place.id)),
        Asked("first page by last name", by_name, order=name_order),
        Asked(
            "deep cursor by last name",
            {**by_name, **deep_name},
            named_beyond,
            name_order,
            (named.key, named.id),
        ),
        Asked(
            "createdAfter",
            {"createdAfter": isoformat(recent)},
            '"createdAt" >= $2',
            values=(moment(recent),),
        ),
        Asked(
            "createdBefore",
            {"createdBefore": isoformat(old)},
            '"createdAt" <= $2',
            values=(moment(old),),
        ),
        Asked(
            "updatedAfter, few",
            {"updatedAfter": isoformat(changed)},
            '"updatedAt" >= $2',
            values=(moment(changed),),
        ),
        Asked(
            "updatedAfter, many",
            {"updatedAfter": isoformat(old)},
            '"updatedAt" >= $2',
            values=(moment(old),),
        ),
        Asked("hasTag, 60 %", {"hasTag": "subscriber"}, _TAG.format("subscriber")),
        Asked("hasTag, 5 %", {"hasTag": "VIP"}, _TAG.format("vip")),
        Asked("hasTag, 0.05 %", {"hasTag": "founder"}, _TAG.format("founder")),
        Asked(
            "customField, 20 %",
            {"customField[favorite_drink]": "matcha"},
            _FIELD.format("favorite_drink", "matcha"),
        ),
        Asked(
            "customField, 0.5 %", {"customField[city]": "city 7"}, _FIELD.format("city", "city 7")
        ),
        Asked(
            "customField, one user",
            {"customField[reference]": reference},
            _FIELD.format("reference", reference.lower()),
        ),
        Asked("optedIn", {"optedIn": "whatsapp"}, '"optedInWhatsapp"'),
        Asked("exportConsentOnly", {"exportConsentOnly": "true"}, '"exportConsentGiven"'),
        Asked("search, rare", {"search": rare}, search(rare)),
        Asked("search, rare, Cyrillic", {"search": "кузнецов"}, search("кузнецов")),
        Asked("search, common", {"search": common}, search(common)),
        Asked("search, 3 %", {"search": "john"}, search("john")),
        Asked("search, nobody", {"search": "examplejohn"}, search("examplejohn")),
        Asked(
            "search, two letters",
            {"search": "zo"},
            f"{'instr' if database.is_sqlite else 'strpos'}(\"searchText\", 'zo') > 0",
        ),
        Asked(
            "three: tag, field, opt-in",
            {"hasTag": "vip", "customField[favorite_drink]": "matcha", "optedIn": "whatsapp"},
            f"{_TAG.format('vip')} AND {_FIELD.format('favorite_drink', 'matcha')}"
            ' AND "optedInWhatsapp"',
        ),
        Asked(
            "three: tag, field, search",
            {"hasTag": "event-2025", "customField[city]": "City 7", "search": "anna"},
            f"{_TAG.format('event-2025')} AND {_FIELD.format('city', 'city 7')}"
            f" AND {search('anna')}",
        ),
    ]


@dataclass(frozen=True)
class Times:
    """Milliseconds."""

    median: float
    p99: float

    def __str__(self) -> str:
        return f"{self.median:8.1f} {self.p99:8.1f}"


async def timed(run: Callable[[], Awaitable[Any]]) -> Times:
    """Of up to 100 runs, fewer where they are slow."""
    until = time.perf_counter() + _LONGEST
    for _ in range(6):  # PostgreSQL plans a prepared statement anew five times
        if time.perf_counter() < until:
            await run()
    taken: list[float] = []
    while len(taken) < ROUNDS and (len(taken) < 5 or time.perf_counter() < until):
        started = time.perf_counter()
        await run()
        taken.append((time.perf_counter() - started) * 1000)
    return Times(statistics.median(taken), statistics.quantiles(taken, n=100)[98])


async def pages(database_url: str, users: int) -> None:
    """Load, measure every page, and print a line for each."""
    process = open_process(database_url)
    admin_id, key = await load(process, users)
    await process.database.close()
    await measure(database_url, users, admin_id, key)


async def measure(database_url: str, users: int, admin_id: str, key: str) -> None:
    """Measure every page on a database that is loaded."""
    process = open_process(database_url)
    plain = await open_plain(database_url)
    place, named = await _deep(process.database, admin_id, users)
    print(f"  {'milliseconds':28}  {'plain p50':>8} {'p99':>8}  {'page p50':>8} {'p99':>8}", end="")
    print(f"  {'over':>7}  {'exact p50':>8} {'p99':>8}")
    async with (
        serve(database_url, admin_id, key) as server,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http,
    ):
        for item in asked(process.database, users, place, named):
            await _measure_one(http, f"{server.base}/api/admin/users", plain, admin_id, item)
    await plain.close()
    await process.database.close()


async def _measure_one(
    http: aiohttp.ClientSession, url: str, plain: Plain, admin_id: str, item: Asked
) -> None:
    sql = _PAGE.format(where=item.where, order=item.order)
    values = (admin_id, *item.values)

    async def by_sql() -> list[str]:
        return await plain.page(sql, values)

    async def by_http(count: str) -> list[str]:
        params = {**item.params, "count": count}
        async with http.get(url, params=params) as response:
            answer = await response.json()
            assert response.status == 200, answer
        return [user["id"] for user in answer["users"]]

    assert await by_sql() == await by_http("none"), item.name
    base, page = await timed(by_sql), await timed(lambda: by_http("none"))
    exact = await timed(lambda: by_http("exact"))
    over = page.p99 - base.p99
    kept = "" if over <= 25 and page.p99 <= 60 else "  missed"
    print(f"  {item.name:28}  {base}  {page}  {over:+7.1f}  {exact}{kept}", flush=True)


async def _deep(database: Database, admin_id: str, users: int) -> tuple[Position, Position]:
    """Places after nine tenths of the users, by creation and by last name."""
    found = []
    async with database.reading(admin_id) as session:
        for order in (Order("createdAt", "desc"), Order("lastName", "asc")):
            statement = order.places().offset(users * 9 // 10).limit(1)
            row = (await session.execute(statement)).one()
            found.append(Position(row[0], row[1]))
    return found[0], found[1]
