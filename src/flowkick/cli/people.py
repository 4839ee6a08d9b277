"""Made-up contacts: believable, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

_NAMES: Final = (
    ("Anna", "Schmidt", "de_DE", "Europe/Berlin"),
    ("Mateo", "García", "es_ES", "Europe/Madrid"),
    ("Zoë", "Brontë", "en_GB", "Europe/London"),
    ("Olivia", "Nguyễn", "vi_VN", "Asia/Ho_Chi_Minh"),
    ("Søren", "Ødegård", "nb_NO", "Europe/Oslo"),
    ("Лев", "Иванов", "ru_RU", "Europe/Riga"),
    ("Ελένη", "Παππά", "el_GR", "Europe/Athens"),
    ("ليلى", "حداد", "ar_LB", "Asia/Beirut"),
    ("דנה", "לוי", "he_IL", "Asia/Jerusalem"),
    ("小明", "王", "zh_CN", "Asia/Shanghai"),
    ("さくら", "田中", "ja_JP", "Asia/Tokyo"),
    ("지우", "김", "ko_KR", "Asia/Seoul"),
    ("प्रिया", "शर्मा", "hi_IN", "Asia/Kolkata"),
    ("Amina", "Okafor", "en_NG", "Africa/Lagos"),
    ("John", "Doe", "en_US", "America/New_York"),
    ("Maria", "da Silva", "pt_BR", "America/Sao_Paulo"),
)
_TAGS: Final = (("newsletter", 0.45), ("customer", 0.3), ("vip", 0.06), ("wholesale", 0.02))
_DRINKS: Final = ("Cappuccino", "Espresso", "Matcha", "Chai", "Flat white")


def people(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """So many contacts, in the shape that a batch takes."""
    chance = random.Random(seed)  # noqa: S311  # made-up people need no secrecy
    for number in range(count):
        yield _person(chance, seed * 1_000_000_000 + number)


def _person(chance: random.Random, number: int) -> dict[str, Any]:
    first, _, locale, zone = chance.choice(_NAMES)
    last = chance.choice(_NAMES)[1]
    handle = f"contact{number}"
    person: dict[str, Any] = {
        "manychatId": str(number),
        "firstName": first,
        "lastName": last if chance.random() < 0.85 else None,
        "igUsername": handle if chance.random() < 0.9 else None,
        "email": f"{handle}@example.com" if chance.random() < 0.6 else None,
        "phone": f"+49151{number % 10_000_000:07d}" if chance.random() < 0.4 else None,
        "locale": locale,
        "timezone": zone,
        "optedInInstagram": chance.random() < 0.7,
        "exportConsentGiven": chance.random() < 0.5,
        "tags": [name for name, share in _TAGS if chance.random() < share],
        "customFields": {},
    }
    if chance.random() < 0.5:
        person["customFields"]["favorite_drink"] = chance.choice(_DRINKS)
    if chance.random() < 0.5:
        person["customFields"]["visit_count"] = chance.randint(1, 40)
    return person
