"""The files as the API gives them: exact headers, every cell, nothing left out."""

from __future__ import annotations

import csv
import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.history import made
from tests.support.server import Api

CSV, JSON = "/api/admin/export/users/csv", "/api/admin/export/users/json"
HEADER = [
    "id",
    "manychat_id",
    "instagram_id",
    "instagram_username",
    "first_name",
    "last_name",
    "email",
    "phone",
    "whatsapp_phone",
    "gender",
    "locale",
    "timezone",
    "opted_in_messenger",
    "opted_in_instagram",
    "opted_in_whatsapp",
    "opted_in_telegram",
    "export_consent_given",
    "export_consent_at",
    "subscribed_at",
    "last_synced_at",
    "bookings_count",
    "qr_codes_count",
    "conversations_count",
    "tags",
    "created_at",
    "updated_at",
]
CELLS = [
    ("محمد", "محمد"),
    ("陳大文", "陳大文"),
    ("👩‍👩‍👧 Zoë", "👩‍👩‍👧 Zoë"),
    ('Dwayne "The Rock"', 'Dwayne "The Rock"'),
    ('"', '"'),
    ("Doe, Jane", "Doe, Jane"),
    ("two\nlines", "two\nlines"),
    ("two\r\nlines", "two\r\nlines"),
    ("\ra", "'\ra"),
    ("\na", "'\na"),
    ("007", "007"),
    ("+4915112345678", "+4915112345678"),
    ("+49 151 1234", "'+49 151 1234"),
    ("-5", "-5"),
    ("-5.25", "-5.25"),
    ("-5%", "'-5%"),
    ("5-3", "5-3"),
    ("=1+1", "'=1+1"),
    ("@SUM", "'@SUM"),
    ("+", "'+"),
    ("-1+1", "'-1+1"),
    ("\t=1", "'\t=1"),
    ("a\tb", "a\tb"),
    ("＝1+1", "'＝1+1"),
    ("＋1", "'＋1"),
    ("－1", "'－1"),
    ("＠SUM", "'＠SUM"),
    ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
    ("'=1", "'=1"),
    (" =1", " =1"),
    ("\\.", "\\."),
    ("\\N", "\\N"),
    ("null", "null"),
    ("１２３", "１２３"),
]
"""What is kept, and the cell that it becomes."""


def rows(content: bytes) -> list[dict[str, str]]:
    """The rows of a CSV, read by Python."""
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))


async def fetch(http: httpx.AsyncClient, path: str, **params: Any) -> httpx.Response:
    answer = await http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer


async def add(http: httpx.AsyncClient, users: list[dict[str, Any]]) -> None:
    numbered = [{"manychatId": str(n), **user} for n, user in enumerate(users)]
    answer = await http.post("/api/admin/users/batch", json={"users": numbered})
    assert {result["error"] for result in answer.json()["results"]} == {None}


async def test_every_text_is_a_cell_that_no_spreadsheet_runs(api: Api) -> None:
    await add(api.http, [{"firstName": t, "customFields": {"x": t}} for t, _ in CELLS])
    found = rows((await fetch(api.http, CSV)).content)
    found.sort(key=lambda row: int(row["manychat_id"]))
    assert [row["first_name"] for row in found] == [cell for _, cell in CELLS]
    assert [row["cf_x"] for row in found] == [cell for _, cell in CELLS]
    users = (await fetch(api.http, JSON)).json()["users"]
    users.sort(key=lambda user: int(user["manychatId"]))
    assert [user["profile"]["firstName"] for user in users] == [text for text, _ in CELLS]
    assert [user["customFields"]["x"]["value"] for user in users] == [text for text, _ in CELLS]


async def test_nul_is_refused_where_it_would_come_in(api: Api) -> None:
    answer = await api.http.post("/api/admin/users", json={"firstName": "a\x00b"})
    assert answer.status_code == 400


async def test_the_columns_are_those_that_are_defined(api: Api) -> None:
    await add(api.http, [{"customFields": {"b,c": "1", "Ä": "ü"}}, {"customFields": {"a": "2"}}])
    answer = await fetch(api.http, CSV)
    first, *_ = answer.content.decode().splitlines()
    assert first == ",".join([*HEADER, "cf_a", '"cf_b,c"', "cf_Ä"])
    assert sorted(row["cf_b,c"] for row in rows(answer.content)) == ["", "1"]
    assert answer.content.count(b"\r\n") == 3


async def test_a_file_has_exact_headers(api: Api) -> None:
    await add(api.http, [{"tags": ["vip", "new; old"], "optedInWhatsapp": True, "email": "a@b.c"}])
    answer = await fetch(api.http, CSV, bom="true")
    content, headers = answer.content, answer.headers
    assert content.startswith(b"\xef\xbb\xbfid,")
    assert headers["content-type"] == "text/csv; charset=utf-8"
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert headers["content-disposition"] == f'attachment; filename="users-export-{today}.csv"'
    assert headers["content-length"] == str(len(content))
    assert headers["x-export-count"] == "1"
    assert headers["x-file-hash"] == hashlib.sha256(content).hexdigest()
    assert headers["etag"] == f'"{headers["x-file-hash"]}"'
    (row,) = rows(content.removeprefix(b"\xef\xbb\xbf"))
    assert row["tags"] == "new; old; vip"
    assert (row["opted_in_whatsapp"], row["opted_in_telegram"]) == ("Yes", "No")
    assert row["created_at"].endswith("Z")
    assert len(row["created_at"]) == 24


async def test_documents_include_what_users_did(api: Api) -> None:
    await add(api.http, [{"tags": ["vip"], "igUsername": "zoe"}])
    (user,) = (await made.get(api.http, "/users"))["users"]
    tool = await made.tool(api.http)
    bookings = [
        await made.booking(
            api.http,
            user["id"],
            tool["id"],
            startTime=f"2026-03-{n + 1:02}T08:00Z",
            endTime=f"2026-03-{n + 1:02}T09:00Z",
        )
        for n in range(12)
    ]
    code = await made.qr_code(api.http, userId=user["id"], metadata={"a": 1})
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    await made.post(api.http, "/conversations", {"userId": user["id"], "messages": said})
    await made.post(api.http, f"/users/{user['id']}/interactions", {"messagesCount": 3})
    includes = ("Bookings", "QRCodes", "Interactions", "Conversations")
    asked = {f"include{name}": "true" for name in includes}
    document = (await fetch(api.http, JSON, hasTag="VIP", limit=5, **asked)).json()
    assert document["metadata"]["recordCount"] == 1
    assert document["metadata"]["filters"] == {"hasTag": ["VIP"], "limit": 5}
    assert document["metadata"]["includes"] == [
        "bookings",
        "qrCodes",
        "interactionHistory",
        "conversations",
    ]
    (shown,) = document["users"]
    assert [item["id"] for item in shown["bookings"]] == [b["id"] for b in reversed(bookings)]
    assert shown["qrCodes"][0]["code"] == code["code"]
    assert shown["interactionHistory"][0]["messagesCount"] == 3
    assert [m["content"] for m in shown["conversations"][0]["messages"]] == ["Hi", "Hello"]
    assert shown["tags"][0] | {"id": "", "appliedAt": ""} == {
        "id": "",
        "name": "vip",
        "manychatTagId": None,
        "appliedAt": "",
    }
    assert shown["instagram"] == {"id": None, "username": "zoe"}
    assert shown["stats"]["bookingsCount"] == 12
    assert list(shown)[-1] == "timestamps"


@pytest.mark.parametrize("path", [CSV, JSON])
@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"offset": "1"}, "offset"),
        ({"limit": "0"}, "limit"),
        ({"fields": "id,nonsense"}, "fields"),
        ({"createdAfter": "yesterday"}, "createdAfter"),
    ],
)
async def test_what_is_not_known_is_refused_by_name(
    api: Api, path: str, params: dict[str, str], field: str, tmp_path: Path
) -> None:
    answer = await api.http.get(path, params=params)
    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == field


async def test_ranges_of_a_file_are_sent_where_it_is_the_same(api: Api) -> None:
    await add(api.http, [{"firstName": f"Person {n}"} for n in range(50)])
    whole = await fetch(api.http, CSV)
    tag = whole.headers["etag"]
    rest = await api.http.get(CSV, headers={"Range": "bytes=100-", "If-Range": tag})
    assert rest.status_code == 206
    assert rest.content == whole.content[100:]
    assert (
        rest.headers["content-range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    )
    other = await api.http.get(CSV, headers={"Range": "bytes=100-", "If-Range": '"other"'})
    assert other.status_code == 200
    assert other.content == whole.content
    beyond = await api.http.get(CSV, headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416


async def test_fields_select_columns_in_their_order(api: Api) -> None:
    await add(api.http, [{"email": "a@b.c", "customFields": {"x": "1", "y": "2"}}, {}])
    answer = await fetch(api.http, CSV, fields="cf_x, email,igUsername")
    lines = answer.content.decode().splitlines()
    assert lines == ["instagram_username,email,cf_x", ",,", ",a@b.c,1"]
    answer = await fetch(api.http, JSON, fields="email,customFields")
    none, one = answer.json()["users"]
    assert none == {"profile": {"email": None}, "customFields": {}}
    assert set(one["customFields"]) == {"x", "y"}
    assert (await fetch(api.http, CSV, fields="email")).content == b'email\r\n""\r\na@b.c\r\n'
