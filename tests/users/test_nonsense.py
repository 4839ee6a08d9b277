"""Whatever is sent as a user, the answer is a 4xx that says what is wrong, never a failure."""

from __future__ import annotations

import json

import pytest

from tests.support.server import Api
from tests.users.recorded import create, names

USERS = "/api/admin/users"
JSON = {"content-type": "application/json"}
DEEP = "[" * 100_000 + "]" * 100_000

BAD_USERS = {
    "unknown field": '{"nope": 1}',
    "unknown field that is no text": '{"\\ud800": 1}',
    "unknown field with NUL": '{"a\\u0000": 1}',
    "a number as id": '{"manychatId": 5}',
    "an empty id": '{"manychatId": ""}',
    "a NUL": '{"firstName": "a\\u0000b"}',
    "a lone surrogate": '{"firstName": "\\ud800"}',
    "a name of 10,000 characters": json.dumps({"firstName": "x" * 10_000}),
    "no e-mail address": '{"email": "nobody"}',
    "an array": "[]",
    "a text": '"user"',
    "null": "null",
    "deep nesting": DEEP,
    "deep nesting inside": f'{{"customFields": {{"a": {DEEP}}}}}',
    "a huge number": f'{{"messagesCount": {"9" * 5000}}}',
    "a number too large": '{"messagesCount": 9999999999}',
    "a negative count": '{"messagesCount": -1}',
    "NaN": '{"messagesCount": NaN}',
    "NaN in a custom field": '{"customFields": {"a": NaN}}',
    "no number in a custom field": '{"customFields": {"a": Infinity}}',
    "an array as custom fields": '{"customFields": []}',
    "an object in a custom field": '{"customFields": {"a": {}}}',
    "a custom field without a name": '{"customFields": {" ": "x"}}',
    "a custom field's name with NUL": '{"customFields": {"\\u0000": "x"}}',
    "a custom field's name that is no text": '{"customFields": {"\\udfff": "x"}}',
    "a tag without a name": '{"tags": ["  "]}',
    "an object as tags": '{"tags": {}}',
    "a tag that is no text": '{"tags": [{"name": "x"}]}',
    "a moment that is none": '{"subscribedAt": "yesterday"}',
    "a moment before all": '{"subscribedAt": "0001-01-01T00:00:00+14:00"}',
    "a moment after all": '{"subscribedAt": "9999-12-31T23:59:59-14:00"}',
    "no JSON": "{",
    "bytes that are no UTF-8": "\udcff",
}


@pytest.mark.parametrize("body", BAD_USERS.values(), ids=BAD_USERS.keys())
async def test_a_user_that_cannot_be_is_refused(api: Api, body: str) -> None:
    user = await create(api.http)
    content = body.encode("utf-8", "surrogateescape")
    for answer in (
        await api.http.post(USERS, content=content, headers=JSON),
        await api.http.patch(f"{USERS}/{user['id']}", content=content, headers=JSON),
    ):
        assert answer.status_code == 400, answer.text
        assert answer.json()["code"] == "invalid_input"
    item = b'{"users": [' + content + b', {"manychatId": "1"}]}'
    batch = await api.http.post(f"{USERS}/batch", content=item, headers=JSON)
    assert batch.status_code in {200, 400}, batch.text
    if batch.status_code == 200:  # one bad item fails alone
        assert [result["status"] for result in batch.json()["results"]] == ["failed", "created"]
        assert batch.json()["results"][0]["error"]
    assert "user.updated" not in await names(api.database)


@pytest.mark.parametrize(
    "value", [{}, [1], "x" * 10_001, "a\x00b"], ids=["object", "array", "long text", "NUL"]
)
async def test_a_custom_fields_value_that_cannot_be_is_told_in_one_sentence(
    api: Api, value: object
) -> None:
    sentence = (
        "must be text of up to 10,000 characters that can be stored, a finite number, true, false"
        " or null"
    )
    bad = {"manychatId": "1", "customFields": {"shoe size": value}}
    answer = await api.http.post(USERS, json=bad)
    assert answer.json()["details"] == [{"field": "customFields.shoe size", "problem": sentence}]
    batch = await api.http.post(f"{USERS}/batch", json={"users": [bad]})
    assert batch.json()["results"][0]["error"] == f"customFields.shoe size: {sentence}"
    user = await create(api.http)
    answer = await api.http.put(f"{USERS}/{user['id']}/custom-fields/a", json={"value": value})
    assert answer.json()["details"] == [{"field": "value", "problem": sentence}]


async def test_a_path_of_any_length_is_answered(api: Api) -> None:
    user = await create(api.http)
    for name in ("x" * 2000, "%00", "%ED%A0%80", "%FF", "..%2f..", "%20"):
        path = f"{USERS}/{user['id']}/custom-fields/{name}"
        assert (await api.http.put(path, json={"value": "x"})).status_code < 500
        assert (await api.http.delete(f"{USERS}/{user['id']}/tags/{name}")).status_code < 500
    assert (await api.http.get(f"{USERS}/{'x' * 2000}")).status_code in {400, 404}
