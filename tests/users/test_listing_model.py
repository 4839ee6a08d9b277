"""Whatever is asked of the list of users, it answers as a naive list in memory would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flowkick.core.clock import isoformat
from flowkick.storage.database import Database
from flowkick.users.finding import Pace
from flowkick.users.listing import list_users
from flowkick.users.query import UsersQuery, parse_query
from tests.conftest import new_admin
from tests.users.listed import DRINKS, QUERY_WORDS, START, TAGS, Model, add_people

PEOPLE = 200
EXAMPLES = 80


@dataclass
class Listed:
    """A database with the model of one of its admins, beside whom there is another."""

    database: Database
    admin_id: str
    model: Model

    async def list(self, query: dict[str, Any], pace: Pace | None = None) -> dict[str, Any]:
        async with self.database.reading(self.admin_id) as session:
            answer = await list_users(
                session, parse_query(_items(query), UsersQuery), pace=pace or Pace()
            )
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer))
        return found


def _items(query: dict[str, Any]) -> list[tuple[str, str]]:
    items: list[tuple[str, str]] = []
    for name, value in query.items():
        if isinstance(value, dict):
            items += [(f"{name}[{key}]", inner) for key, inner in value.items()]
        elif isinstance(value, list):
            items += [(name, each) for each in value]
        else:
            items.append((name, str(value)))
    return items


@pytest_asyncio.fixture
async def listed(database: Database) -> AsyncIterator[Listed]:
    mine, _ = await new_admin(database)
    other, _ = await new_admin(database)
    await add_people(database, mine, range(PEOPLE), seed=1)
    await add_people(database, other, range(50), seed=2)
    found = Listed(database, mine, Model())
    found.model.users = (await found.list({"limit": 1000}))["users"]
    assert len(found.model.users) == PEOPLE
    yield found


moments = st.integers(0, 220).map(lambda n: isoformat(START.replace(hour=n % 24, day=1 + n // 24)))
FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "createdAfter": moments,
    "createdBefore": moments,
    "updatedAfter": st.one_of(moments, st.just("2025-01-20")),
    "hasTag": st.lists(
        st.sampled_from([*TAGS, "VIP", "STRASSE", "unknown"]), min_size=1, max_size=2
    ),
    "customField": st.dictionaries(
        st.sampled_from(["drink", "DRINK", "GRÖSSE", "unknown"]),
        st.sampled_from([*DRINKS, "TEA", "weissbier", "nothing"]),
        min_size=1,
        max_size=2,
    ),
    "optedIn": st.lists(st.sampled_from(["whatsapp", "telegram"]), min_size=1, max_size=2),
    "exportConsentOnly": st.sampled_from(["true", "false"]),
    "search": st.lists(st.sampled_from(QUERY_WORDS), min_size=1, max_size=3).map(" ".join),
    "sortBy": st.sampled_from(["createdAt", "updatedAt", "firstName", "lastName"]),
    "sortOrder": st.sampled_from(["asc", "desc"]),
}


@st.composite
def queries(draw: st.DrawFn) -> dict[str, Any]:
    """A handful of parameters: with all of them at once, nobody would ever be found."""
    names = draw(st.lists(st.sampled_from(sorted(FILTERS)), unique=True, max_size=4))
    return {name: draw(FILTERS[name]) for name in names}


async def _each(run: Callable[..., Coroutine[Any, Any, None]], **given_as: Any) -> None:
    """Run examples of Hypothesis in a thread, each of them in this event loop."""
    loop = asyncio.get_running_loop()

    @given(**given_as)
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def example(**values: Any) -> None:
        asyncio.run_coroutine_threadsafe(run(**values), loop).result(60)

    await asyncio.to_thread(example)


async def test_every_query_is_answered_as_a_naive_list_would(listed: Listed) -> None:
    sizes: list[int] = []

    async def answers_alike(query: dict[str, Any], limit: int, pace: Pace, offset: int) -> None:
        expected = listed.model.page(query)
        sizes.append(len(expected))
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            answer = await listed.list({**query, **cursor, "limit": limit}, pace)
            seen += [user["id"] for user in answer["users"]]
            page = answer["pagination"]
            assert page["total"] == len(expected)
            assert page["hasMore"] == (len(seen) < len(expected)) == bool(page["nextCursor"])
            if not page["hasMore"]:
                break
            cursor = {"cursor": page["nextCursor"]}
        assert seen == expected
        skipped = await listed.list({**query, "offset": offset, "limit": limit}, pace)
        assert [user["id"] for user in skipped["users"]] == expected[offset : offset + limit]
        if expected:
            after = {"cursor": expected[0], "count": "none"}
            rest = await listed.list({**query, **after, "limit": limit}, pace)
            assert [user["id"] for user in rest["users"]] == expected[1 : 1 + limit]
            assert rest["pagination"]["total"] is None

    await _each(
        answers_alike,
        query=queries(),
        limit=st.sampled_from([7, 40, 200]),
        pace=st.builds(
            Pace,
            stretch=st.sampled_from([5, 60, 4000]),
            small=st.sampled_from([0, 0, 0, 1000]),
            few=st.sampled_from([0, 20, None]),
        ),
        offset=st.integers(0, 60),
    )
    assert sum(size > 20 for size in sizes) > EXAMPLES / 10  # they find somebody, too
    assert sum(0 < size < 20 for size in sizes) > EXAMPLES / 20


async def test_an_estimate_of_few_users_is_exact(listed: Listed) -> None:
    query = {"hasTag": ["vip"], "optedIn": ["whatsapp"]}
    answer = await listed.list({**query, "count": "estimated"})
    assert answer["pagination"]["total"] == len(listed.model.matching(query))
