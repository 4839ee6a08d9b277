"""Made-up contacts: believable, and the same for the same seed.

Names of many scripts, a few with emoji; most who came lately; a few tags that many have, and many
that few have; and in every field some who left it empty.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from flowkick.core.clock import isoformat
from flowkick.users.folding import fold


@dataclass(frozen=True, slots=True)
class _Place:
    """Where people come from: what they are called there, and how often one meets them."""

    weight: int
    locale: str
    timezone: str
    prefix: str
    firsts: str
    lasts: str


_PLACES: Final = (
    _Place(
        22,
        "en_US",
        "America/New_York",
        "+1555",
        "John Emily Michael Ashley Tyler Grace Noah Hannah",
        "Doe Smith O'Brien Johnson Miller Davis Garcia Brown",
    ),
    _Place(
        12,
        "pt_BR",
        "America/Sao_Paulo",
        "+5511",
        "Maria João Ana Luís Beatriz Antônio Inês Caio",
        "Silva Souza Conceição Araújo Gonçalves Lima",
    ),
    _Place(
        12,
        "es_MX",
        "America/Mexico_City",
        "+5255",
        "Mateo Sofía José Ximena Íñigo Lucía Andrés Begoña",
        "García Hernández Muñoz López Ibáñez Peña",
    ),
    _Place(
        9,
        "de_DE",
        "Europe/Berlin",
        "+49151",
        "Anna Jürgen Käthe Lukas Björn Sabine Jörg Mia",
        "Schmidt Müller Groß Weiß Schäfer Köhler Becker",
    ),
    _Place(
        8,
        "en_GB",
        "Europe/London",
        "+4477",
        "Zoë Oliver Siân Harry Chloë Niamh Jack Isla",
        "Brontë Taylor Evans Wright Patel MacLeod",
    ),
    _Place(
        7,
        "fr_FR",
        "Europe/Paris",
        "+336",
        "Léa Hugo Anaïs François Chloé Jérôme Élodie",
        "Dupont Lefèvre Bézier Moreau Gérard Noël",
    ),
    _Place(
        6,
        "zh_CN",
        "Asia/Shanghai",
        "+86138",
        "小明 丽娜 伟 芳 建国 秀英 思源 雨桐",
        "王 李 张 刘 陈 欧阳 诸葛",
    ),
    _Place(
        5,
        "ar_LB",
        "Asia/Beirut",
        "+9613",
        "ليلى عمر فاطمة يوسف نور خالد مريم",
        "حداد خوري الأحمد منصور نجار",
    ),
    _Place(
        4,
        "ru_RU",
        "Europe/Riga",
        "+3712",
        "Лев Анна Дмитрий Ольга Алёна Сергей Юлия",
        "Иванов Смирнова Кузнецов Попова Соловьёв",
    ),
    _Place(
        3,
        "hi_IN",
        "Asia/Kolkata",
        "+9198",
        "प्रिया अर्जुन दीपिका राहुल अनन्या",
        "शर्मा वर्मा गुप्ता सिंह",
    ),
    _Place(3, "vi_VN", "Asia/Ho_Chi_Minh", "+8490", "Linh Đức Hương Tuấn Ngọc", "Nguyễn Trần Phạm"),
    _Place(2, "ja_JP", "Asia/Tokyo", "+8190", "さくら 健太 陽子 ケン 美咲", "田中 佐藤 鈴木 高橋"),
    _Place(2, "ko_KR", "Asia/Seoul", "+8210", "지우 민준 서연 하준", "김 이 박 최"),
    _Place(2, "tr_TR", "Europe/Istanbul", "+9053", "İpek Çağlar Ömer Ayşe Işıl", "Yılmaz Şahin Öz"),
    _Place(1, "el_GR", "Europe/Athens", "+3069", "Ελένη Γιώργος Σοφία", "Παππά Αγγελόπουλος"),
    _Place(1, "he_IL", "Asia/Jerusalem", "+9725", "דנה יוסי נועה", "לוי כהן"),
    _Place(1, "nb_NO", "Europe/Oslo", "+474", "Søren Åse Ødger", "Ødegård Næss"),
)
_PLACE_WEIGHTS: Final = tuple(accumulate(place.weight for place in _PLACES))
_FIRSTS: Final = tuple(tuple(place.firsts.split()) for place in _PLACES)
_LASTS: Final = tuple(tuple(place.lasts.split()) for place in _PLACES)
_EMOJI: Final = ("🌸", "✨", "☕", "🦊", "👩‍🍳", "🏳️‍🌈")
_TAGS: Final = (
    "newsletter",
    "customer",
    "instagram",
    "discount-10",
    "returning",
    "vip",
    "birthday club",
    "wholesale",
    "lead: café",
    "event 2025",
    *(f"campaign {number:02}" for number in range(1, 31)),
)
# As often as Zipf's law has it: the n-th a n-th as often as the first.
_TAG_WEIGHTS: Final = tuple(accumulate(1 / rank for rank in range(1, len(_TAGS) + 1)))
_TAG_COUNTS: Final = (0, 0, 1, 1, 1, 2, 2, 3, 4)
_DRINKS: Final = ("Cappuccino", "Espresso", "Matcha", "Chai", "Flat white", "Café crème", "緑茶")
_SIZES: Final = ("small", "medium", "large")
_GENDERS: Final = ("female", "male", None, None, "female", "male", "other")
_LATEST: Final = datetime(2025, 11, 1, tzinfo=UTC)
_YEARS: Final = timedelta(days=3 * 365)


def people(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """So many contacts, in the shape that a batch takes."""
    chance = random.Random(seed)  # noqa: S311  # made-up people need no secrecy
    for number in range(count):
        yield _person(chance, seed * 1_000_000_000 + number)


def _person(chance: random.Random, number: int) -> dict[str, Any]:
    (at,) = chance.choices(range(len(_PLACES)), cum_weights=_PLACE_WEIGHTS)
    place, some = _PLACES[at], chance.random
    first, last = chance.choice(_FIRSTS[at]), chance.choice(_LASTS[at])
    handle = f"{_plain(first, last)}{number % 10_000_000}"
    return {
        "manychatId": str(number),
        "firstName": f"{first} {chance.choice(_EMOJI)}" if some() < 0.02 else first,
        "lastName": last if some() < 0.85 else None,
        "igUsername": handle if some() < 0.9 else None,
        "email": f"{handle}@example.com" if some() < 0.6 else None,
        "phone": f"{place.prefix}{number % 10_000_000:07d}" if some() < 0.4 else None,
        "gender": chance.choice(_GENDERS),
        "locale": place.locale,
        "timezone": place.timezone,
        "subscribedAt": isoformat(_LATEST - _YEARS * some() ** 2),
        "optedInInstagram": some() < 0.7,
        "optedInWhatsapp": some() < 0.15,
        "exportConsentGiven": some() < 0.5,
        "messagesCount": min(int(chance.paretovariate(1.2)), 5000) if some() < 0.5 else 0,
        "tags": _tags(chance),
        "customFields": _custom_fields(chance),
    }


def _plain(first: str, last: str) -> str:
    """A name in the letters of an address, where it has such."""
    name = f"{fold(first)}.{fold(last)}".replace("'", "")
    return name if name.isascii() else "contact"


def _tags(chance: random.Random) -> list[str]:
    count = chance.choice(_TAG_COUNTS)
    return list(dict.fromkeys(chance.choices(_TAGS, cum_weights=_TAG_WEIGHTS, k=count)))


def _custom_fields(chance: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if chance.random() < 0.5:
        made["favorite_drink"] = chance.choice(_DRINKS)
    if chance.random() < 0.5:
        made["visit_count"] = int(chance.paretovariate(1.0)) % 500
    if chance.random() < 0.2:
        made["cup_size"] = chance.choice(_SIZES)
    return made
