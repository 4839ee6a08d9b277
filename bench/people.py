"""Many users of one admin among others, written straight into the tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

from sqlalchemy import text

from flowkick.app import Process
from flowkick.auth.service import create_admin, create_key
from flowkick.core.clock import system_clock
from flowkick.core.ids import new_id
from flowkick.storage import migrate
from flowkick.storage.bulk import BulkStatement
from flowkick.users import service
from flowkick.users.folding import user_keys, value_key
from flowkick.users.labels import FieldValue, ensure_custom_fields, ensure_tags, tag_key
from flowkick.users.models import ContactTag, CustomFieldValue, User

START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=30)
_BATCH = 5000
FIRST = [
    "Anna",
    "Mateo",
    "Zoë",
    "Olivia",
    "Søren",
    "Лев",
    "Ελένη",
    "ليلى",
    "דנה",
    "小明",
    "さくら",
    "지우",
    "प्रिया",
    "Amina",
    "John",
    "Maria",
    "James",
    "Emma",
    "Liam",
    "Noah",
    "Sophia",
    "Lucas",
    "Mia",
    "Ethan",
    "Chloé",
    "Léa",
    "José",
    "Luis",
    "Ana",
    "Carlos",
    "Ивана",
    "Мария",
    "Дмитрий",
    "Анна",
    "Νίκος",
    "Γιώργος",
    "محمد",
    "أحمد",
    "فاطمة",
    "יוסף",
    "王伟",
    "李娜",
    "ひろし",
    "민준",
    "서연",
    "Arjun",
    "Deepa",
    "Chidi",
    "Ngozi",
    "Łukasz",
    "Małgorzata",
    "Jürgen",
    "Björn",
]
LAST = [
    "Schmidt",
    "García",
    "Brontë",
    "Nguyễn",
    "Ødegård",
    "Иванов",
    "Παππά",
    "حداد",
    "לוי",
    "王",
    "田中",
    "김",
    "शर्मा",
    "Okafor",
    "Doe",
    "Silva",
    "Smith",
    "Johnson",
    "Williams",
    "Brown",
    "Jones",
    "Miller",
    "Davis",
    "Wilson",
    "Anderson",
    "Thomas",
    "Taylor",
    "Moore",
    "Martin",
    "Lee",
    "Thompson",
    "White",
    "Harris",
    "Clark",
    "Lewis",
    "Walker",
    "Hall",
    "Young",
    "Allen",
    "Wright",
    "Müller",
    "Weber",
    "Wagner",
    "Becker",
    "Hoffmann",
    "Rossi",
    "Russo",
    "Ferrari",
    "Kowalski",
    "Nowak",
    "Novák",
    "Svensson",
    "Петров",
    "Сидоров",
    "Кузнецов",
    "Смирнов",
    "Παπαδόπουλος",
    "陈",
    "佐藤",
    "박",
]
TAGS = (
    *(("subscriber", 0.6), ("customer", 0.3), ("newsletter", 0.45), ("event-2024", 0.15)),
    *(("event-2025", 0.1), ("vip", 0.05), ("wholesale", 0.01), ("founder", 0.0005)),
)
DRINKS = ("Cappuccino", "Espresso", "Matcha", "Chai", "Flat white")
CITIES = [f"City {number}" for number in range(200)]
FIELDS = ("favorite_drink", "city", "visit_count", "plan", "reference")
_USER = BulkStatement.insert(User, *(a.key for a in User.__mapper__.column_attrs))
_TAG = BulkStatement.insert(
    ContactTag, "id", "admin_id", "user_id", "tag_id", "source", "applied_at"
)
_VALUE = BulkStatement.insert(
    CustomFieldValue, "id", "admin_id", "user_id", "field_id", "value", "value_key", "updated_at"
)


async def load(process: Process, users: int) -> tuple[str, str]:
    """Ten admins, nine of them with a hundredth of the users; the id and a key of the tenth."""
    await migrate.upgrade(process.database)
    for number in range(10):
        async with process.database.system_transaction() as session:
            admin = await create_admin(session, f"Admin {number}", system_clock())
        await _fill(process, admin.id, users if number == 9 else users // 100, seed=number)
    async with process.database.transaction(admin.id) as session:
        _, key = await create_key(session, system_clock())
    # As autovacuum would do within its minute.
    async with process.database.writer.connect() as connection:
        outside = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await outside.execute(text("ANALYZE" if process.database.is_sqlite else "VACUUM ANALYZE"))
    return admin.id, key


async def _fill(process: Process, admin_id: str, users: int, seed: int) -> None:
    random = Random(seed)
    async with process.database.transaction(admin_id) as session:
        tags = await ensure_tags(session, [name for name, _ in TAGS], START)
        wanted = {name: FieldValue("x") for name in FIELDS}
        fields = await ensure_custom_fields(session, FIELDS, wanted, START)
    tag_ids = {name: tags[tag_key(name)].id for name, _ in TAGS}
    field_ids = {name: field.id for name, field in fields.items()}
    made = (_person(random, number, admin_id) for number in range(users))
    while batch := list(islice(made, _BATCH)):
        async with process.database.transaction(admin_id) as session:
            await _USER.run(session, batch)
            await _TAG.run(session, list(_tag_rows(random, batch, tag_ids)))
            await _VALUE.run(session, list(_value_rows(random, batch, field_ids)))


def _person(random: Random, number: int, admin_id: str) -> dict[str, Any]:
    first = random.choice(FIRST) if random.random() < 0.95 else None
    last = random.choice(LAST) if random.random() < 0.85 else None
    created = START + STEP * number
    values = {
        "manychat_id": str(number),
        "first_name": first,
        "last_name": last,
        "ig_username": f"contact.{random.getrandbits(28):x}" if random.random() < 0.9 else None,
        "email": f"{(first or 'x').lower()}.{number}@example.com"
        if random.random() < 0.6
        else None,
        "phone": f"+49151{number % 10_000_000:07d}" if random.random() < 0.4 else None,
        "opted_in_instagram": random.random() < 0.7,
        "opted_in_whatsapp": random.random() < 0.2,
        "export_consent_given": random.random() < 0.5,
    }
    return {
        **service.DEFAULTS,
        **values,
        **user_keys(values),
        "id": new_id("usr"),
        "admin_id": admin_id,
        "sequence": 1,
        "created_at": created,
        "updated_at": created + timedelta(seconds=random.randrange(60_000_000)),
    }


def _tag_rows(
    random: Random, users: list[dict[str, Any]], ids: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Three tags for each, some much more often than others."""
    names, weights = zip(*TAGS, strict=True)
    for user in users:
        chosen: set[str] = set()
        while len(chosen) < 3:
            chosen.update(random.choices(names, weights))
        for name in sorted(chosen):
            yield {
                "id": new_id("ctg"),
                "admin_id": user["admin_id"],
                "user_id": user["id"],
                "tag_id": ids[name],
                "source": "api",
                "applied_at": user["created_at"],
            }


def _value_rows(
    random: Random, users: list[dict[str, Any]], ids: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Five values for each."""
    for user in users:
        values = (
            random.choice(DRINKS),
            random.choice(CITIES),
            str(random.randrange(100)),
            random.choice(("free", "pro")),
            f"R-{user['manychat_id']}",
        )
        for name, value in zip(FIELDS, values, strict=True):
            yield {
                "id": new_id("cfv"),
                "admin_id": user["admin_id"],
                "user_id": user["id"],
                "field_id": ids[name],
                "value": value,
                "value_key": value_key(value),
                "updated_at": user["created_at"],
            }
