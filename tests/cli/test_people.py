"""Made-up people are the same for the same seed, and as mixed as people are."""

from __future__ import annotations

from collections import Counter

from flowkick.cli.people import people
from flowkick.users.schemas import BatchUserInput

SOME = list(people(3000, 7))


def test_the_same_seed_makes_the_same_people_however_many() -> None:
    assert list(people(3000, 7)) == SOME
    assert list(people(10, 7)) == SOME[:10]
    assert SOME[:2][0]["manychatId"] == "7000000000"
    assert list(people(10, 8)) != SOME[:10]
    assert not {p["manychatId"] for p in people(10, 8)} & {p["manychatId"] for p in SOME}


def test_they_are_what_a_batch_takes() -> None:
    for person in SOME:
        BatchUserInput.model_validate(person)
    emails = [person["email"] for person in SOME if person["email"]]
    assert len(set(emails)) == len(emails)


def test_their_names_are_of_many_scripts() -> None:
    letters = "".join(person["firstName"] for person in SOME)
    for letter in ("A", "é", "ü", "明", "ل", "л", "प", "さ", "지", "Σ", "ד", "🌸"):
        assert letter in letters, letter


def test_fields_are_missing_and_tags_are_skewed() -> None:
    for name in ("lastName", "igUsername", "email", "phone", "gender"):
        missing = sum(person[name] is None for person in SOME)
        assert 0.05 < missing / len(SOME) < 0.7, name
    often = Counter(tag for person in SOME for tag in person["tags"]).most_common()
    assert len(often) > 30
    assert often[0][1] > 20 * often[-1][1]
    assert {len(person["tags"]) for person in SOME} >= {0, 1, 2, 3}
