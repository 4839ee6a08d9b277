"""Documents are as the schema says that the API publishes in its OpenAPI document."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest

from tests.exports.orders import file_of
from tests.exports.test_files import CELLS, JSON, add, fetch
from tests.history import made
from tests.support.server import Api

INCLUDES = ["bookings", "qrCodes", "interactionHistory", "conversations"]


async def published(api: Api, name: str) -> jsonschema_rs.Draft202012Validator:
    document = (await fetch(api.http, "/openapi.json")).json()
    whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


async def add_everything(api: Api) -> None:
    """A user of whom there is something under every key, and one for each hard text."""
    texts = [text for text, _ in CELLS]
    await add(api.http, [{"firstName": t, "customFields": {t: t}} for t in texts])
    user = await made.post(
        api.http,
        "/users",
        {"manychatId": "007", "tags": ["vip"], "subscribedAt": "2026-01-01", "phone": "+49151"},
    )
    (user_id, tool) = (user["user"]["id"], await made.tool(api.http))
    await made.booking(
        api.http,
        user_id,
        tool["id"],
        startTime="2026-03-01T08:00Z",
        endTime="2026-03-01T09:00Z",
    )
    await made.qr_code(api.http, userId=user_id, metadata={"a": 1})
    said = [{"role": "user", "content": "Hi"}]
    await made.post(api.http, "/conversations", {"userId": user_id, "messages": said})
    await made.post(api.http, f"/users/{user_id}/interactions", {"messagesCount": 3})
    consent = {"given": True, "purpose": "export", "source": "form", "wording": "Yes."}
    await made.post(api.http, f"/users/{user_id}/consent", consent)


async def test_what_is_exported_fits_the_published_schema(api: Api) -> None:
    await add_everything(api)
    document = json.loads(await file_of(api.http, "json", includes=INCLUDES))
    (await published(api, "ExportDocument")).validate(document)
    newest = document["users"][0]
    assert all(newest[name] for name in INCLUDES)
    assert newest["exportConsent"]["given"]
    lines = (await file_of(api.http, "ndjson", includes=INCLUDES)).decode().split("\n")
    assert lines.pop() == ""
    validator = await published(api, "ExportedUser")
    for line in lines:
        validator.validate(json.loads(line))
    assert len(lines) == len(CELLS) + 1


async def test_selected_fields_fit_it_too_and_what_is_unknown_does_not(api: Api) -> None:
    await add_everything(api)
    document = (await fetch(api.http, JSON, fields="phone,tags,customFields")).json()
    validator = await published(api, "ExportDocument")
    validator.validate(document)
    document["users"][0]["profile"]["nickname"] = "Zoë"
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate(document)


async def test_an_export_of_nobody_is_a_whole_document(api: Api) -> None:
    answer = await fetch(api.http, JSON, hasTag="nobody")
    (await published(api, "ExportDocument")).validate(answer.json())
    assert (answer.json()["users"], answer.headers["x-export-count"]) == ([], "0")
    assert answer.json()["metadata"]["recordCount"] == 0
