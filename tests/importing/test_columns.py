"""Columns are known by their names, or as the importer is told."""

from __future__ import annotations

import pytest

from flowkick.importing.columns import ColumnError, Columns, read_mapping

EXPORT = """
id, manychat_id, instagram_id, instagram_username, first_name, last_name, email, phone,
whatsapp_phone, gender, locale, timezone, opted_in_messenger, opted_in_instagram,
opted_in_whatsapp, opted_in_telegram, export_consent_given, export_consent_at,
subscribed_at, last_synced_at, bookings_count, qr_codes_count, conversations_count, tags,
created_at, updated_at
"""


def row(names: str, cells: str, **options: bool) -> dict[str, object]:
    columns = Columns({}, **options)
    return columns.of_row(columns.check(names.split("|")), cells.split("|"))


def test_the_columns_of_an_export_are_known() -> None:
    header = [*(name.strip() for name in EXPORT.split(",")), "cf_Favorite Drink"]
    keys = [field.key if field else None for field in Columns({}).check(header)]
    assert keys[:4] == ["id", "manychatId", "instagramId", "igUsername"]
    assert keys[-9:] == ["subscribedAt", *[None] * 4, "tags", None, None, "Favorite Drink"]


def test_names_are_known_however_they_are_spelt() -> None:
    for name in ("firstName", "first_name", "First Name", "FIRSTNAME", " first-name "):
        assert row(name, "Zoë") == {"firstName": "Zoë"}


def test_cells_become_what_the_api_takes() -> None:
    names = "opted_in_whatsapp|opted_in_telegram|messagesCount|tags|cf_size|email"
    assert row(names, "Yes|false|12|VIP; new ;|  38| a@b.c ") == {
        "optedInWhatsapp": True,
        "optedInTelegram": False,
        "messagesCount": 12,
        "tags": ["VIP", "new"],
        "customFields": {"size": "38"},
        "email": "a@b.c",
    }


def test_what_an_export_guarded_from_spreadsheets_is_as_it_was() -> None:
    assert row("firstName|lastName|phone", "'=1+1|O'Hara|+49151") == {
        "firstName": "=1+1",
        "lastName": "O'Hara",
        "phone": "+49151",
    }


def test_empty_cells_clear_only_where_that_is_asked() -> None:
    names = "manychatId|firstName|cf_size|tags|optedInWhatsapp"
    assert row(names, "| |||") == {}
    assert row(names, "| |||", clear=True) == {"firstName": None, "customFields": {"size": None}}


@pytest.mark.parametrize("cell", ["perhaps", "2"])
def test_a_cell_that_is_no_yes_or_no_is_named(cell: str) -> None:
    with pytest.raises(ValueError, match="optedInWhatsapp: must be yes or no"):
        row("opted_in_whatsapp", cell)


def test_unknown_columns_are_refused_with_what_to_do() -> None:
    with pytest.raises(ColumnError, match=r'"E-Adresse", "Alter"\. .*--map "COLUMN=FIELD"'):
        Columns({}).check(["email", "E-Adresse", "Alter"])


def test_columns_are_mapped_or_left_out() -> None:
    columns = Columns(read_mapping(["E-Adresse=email", "Größe=cf_size", "Alter=", "a=b=phone"]))
    fields = columns.check(["E-Adresse", "Größe", "Alter", "a=b"])
    assert columns.of_row(fields, ["a@b.c", "XL", "40", "1"]) == {
        "email": "a@b.c",
        "customFields": {"size": "XL"},
        "phone": "1",
    }


@pytest.mark.parametrize("pair", ["email", "=email", "x=nonsense"])
def test_a_mapping_that_means_nothing_is_refused(pair: str) -> None:
    with pytest.raises(ColumnError):
        read_mapping([pair])


def test_two_columns_for_one_field_and_a_missing_column_are_refused() -> None:
    with pytest.raises(ColumnError, match="Several columns are email"):
        Columns({}).check(["email", "E-Mail"])
    with pytest.raises(ColumnError, match="no column Mail"):
        Columns(read_mapping(["Mail=email"])).check(["phone"])
