"""A few hundred users of every kind, and a naive model of the list that is made of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from flowkick.storage.database import Database
from flowkick.users.batch import upsert_batch

START = datetime(2025, 1, 1, tzinfo=UTC)
FIRST = ["Zoë", "zoe", "ZOE", "Ana-María", "Иван", "ЁЛКА", "김민수", "陳大文", "Σίσυφος", "O'Neil"]
LAST = ["Müller", "MULLER", "Straße", "Łódź", "אברהם", "محمد", "สมชาย", "100%_sure", 'q"uote', "x"]
TAGS = ["vip", "Straße", "new customer", "rare"]
DRINKS = ["Latte", "LATTE", "tea", "Weißbier", "x" * 300, "X" * 300, ""]
QUERY_WORDS = [
    *("zoe", "ZOË", "oë", "ana-", "-mar", "иван", "елка", "вА", "민수", "김", "大文", "σισυ", "ς"),
    *("o'neil", "muller", "ÜLL", "strasse", "ß", "lodz", "אבר", "محم", "มชา", "%", "_", "100%_"),
    *('"', 'q"u', "'", "\\", "*", "@example.com", "user1", ".com", "zz", "nobody-at-all", "a"),
    *("AND", "x" * 500),
]


def folded(text: str) -> str:
    """Text without case and accents, written down once more."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(letter for letter in apart if unicodedata.combining(letter) == 0)
    return unicodedata.normalize("NFC", bare).replace("ł", "l")


@dataclass
class Model:
    """The users as the API shows them, and a list of them made in the plainest way."""

    users: list[dict[str, Any]] = field(default_factory=list)

    def matching(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        return [user for user in self.users if _meets(user, query)]

    def page(self, query: dict[str, Any]) -> list[str]:
        """The ids of all that match, in their order."""
        by = query.get("sortBy", "createdAt")

        def key(user: dict[str, Any]) -> tuple[str, str]:
            value = user[by] or ""
            return (folded(value) if by.endswith("Name") else value, user["id"])

        reverse = query.get("sortOrder", "desc") == "desc"
        return [user["id"] for user in sorted(self.matching(query), key=key, reverse=reverse)]


def _meets(user: dict[str, Any], query: dict[str, Any]) -> bool:
    names = {tag["name"].casefold() for tag in user["tags"]}
    values = {
        (n.casefold(), v.casefold()) for n, v in user["customFields"].items() if v is not None
    }
    texts = [folded(user[n] or "") for n in ("firstName", "lastName", "igUsername", "email")]
    wanted = query.get("customField", {})
    return all(
        (
            user["createdAt"] >= query.get("createdAfter", ""),
            user["createdAt"] <= query.get("createdBefore", "9"),
            user["updatedAt"] >= query.get("updatedAfter", ""),
            all(tag.casefold() in names for tag in query.get("hasTag", [])),
            all((name.casefold(), value.casefold()) in values for name, value in wanted.items()),
            all(user[f"optedIn{name.title()}"] for name in query.get("optedIn", [])),
            user["exportConsentGiven"] or query.get("exportConsentOnly") != "true",
            all(
                any(word in text for text in texts)
                for word in folded(query.get("search", "")).split()
            ),
        )
    )


def person(number: int, random: Random) -> dict[str, Any]:
    """A made-up user, many of whose fields are missing."""
    made: dict[str, Any] = {
        "manychatId": str(number),
        "tags": [tag for tag in TAGS if random.random() < (0.02 if tag == "rare" else 0.4)],
        "customFields": {},
        "optedInWhatsapp": random.random() < 0.5,
        "optedInTelegram": random.random() < 0.1,
        "exportConsentGiven": random.random() < 0.5,
    }
    if random.random() < 0.8:
        made["firstName"] = random.choice(FIRST)
    if random.random() < 0.8:
        made["lastName"] = random.choice(LAST)
    if random.random() < 0.6:
        made["email"] = f"user{number}@example.{random.choice(['com', 'org'])}"
    for name in ("drink", "Drink", "größe"):
        if random.random() < 0.5:
            made["customFields"][name] = random.choice(DRINKS)
    return made


async def add_people(database: Database, admin_id: str, numbers: Sequence[int], seed: int) -> None:
    """Add users in batches, whose members were made at the same moment; change some later."""
    random = Random(seed)
    for first in range(0, len(numbers), 25):
        batch = [person(number, random) for number in numbers[first : first + 25]]
        moment = START + timedelta(hours=first)
        async with database.transaction(admin_id) as session:
            await upsert_batch(session, batch, source="import", now=moment)
    changed = [{"manychatId": str(n), "phone": "1"} for n in numbers if random.random() < 0.3]
    async with database.transaction(admin_id) as session:
        later = START + timedelta(days=30)
        await upsert_batch(session, changed, source="import", now=later)
