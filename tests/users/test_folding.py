"""Text is folded alike wherever it comes from, and a word is found exactly where it occurs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkick.users.folding import fold, letters, searched, sort_key, value_key
from tests.support.postgres import Cluster

SAME = [
    ("Zoë", "ZOE"),
    ("Łódź", "lodz"),
    ("Straße", "STRASSE"),
    ("Σίσυφος", "ΣΙΣΥΦΟΣ"),
    ("Ёлка", "елка"),
    ("İstanbul", "istanbul"),
    ("e\u0301", "É"),
    ("ﬁn", "FIN"),
    ("김", "\u1100\u1175\u11b7"),
    ("Ｆｕｌｌ", "full"),
]
# What a name of a contact is made of, in the scripts that are told apart in different ways.
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
words = st.text(st.sampled_from("abß%_'ёйΩאم김陳😀é \t"), max_size=8)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_case_and_accents_are_folded_in_any_script(one: str, other: str) -> None:
    assert fold(one) == fold(other)
    assert searched(one) == searched(other)
    assert sort_key(one) == sort_key(other)


@pytest.mark.parametrize(("one", "other"), [("か", "き"), ("김", "기"), ("и", "i"), ("a", "b")])
def test_what_differs_in_more_than_accents_stays_apart(one: str, other: str) -> None:
    assert fold(one) != fold(other)
    assert searched(one) not in searched(other)


@given(st.one_of(names, words), st.one_of(names, words))
def test_letters_of_a_word_occur_exactly_where_the_word_does(text: str, word: str) -> None:
    kept = searched(text)
    assert re.fullmatch("[a-zA-Z0-9 \n]*", kept)
    plain = "".join(c if c.isprintable() else " " for c in fold(text))
    for one in "".join(c if c.isprintable() else " " for c in fold(word)).split():
        (sought,) = letters(one)
        assert (sought in kept) == (one in plain)


def test_keys_for_indexes_are_bounded() -> None:
    assert len(sort_key("ﷺ" * 1000)) <= 100
    long = [value_key("x" * 10_000 + end) for end in ("a", "A", "b")]
    assert long[0] == long[1] != long[2]
    assert all(key is not None and len(key) <= 100 for key in long)
    assert (value_key(None), value_key("")) == (None, "")


def test_any_script_has_trigrams_in_any_locale(cluster: Cluster) -> None:
    cluster.execute("CREATE DATABASE plain TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    cluster.execute("CREATE EXTENSION pg_trgm", database="plain")
    for word in ("иван", "김민수", "陳大文", "@x.", "سلام", "...", "ё", "陳"):
        sql = f"SELECT count(*) FROM unnest(show_trgm('{searched(word)}')) t WHERE t !~ ' '"  # noqa: S608
        assert int(cluster.execute(sql, database="plain")) >= len(word) // 2, word
    cluster.drop_database("plain")
