"""A connection's token opens one admin's door for contacts; nothing else opens any other."""

from __future__ import annotations

from typing import Any

from tests.conftest import client, new_admin
from tests.support.server import Api

CONTACT = "/api/manychat/contact"
CONNECTIONS = "/api/admin/connections"


async def connect(api: Api) -> tuple[str, str]:
    """A new connection: its id and its token."""
    made = await api.http.post(CONNECTIONS, json={})
    assert made.status_code == 201
    answer: dict[str, Any] = made.json()
    return answer["connection"]["id"], answer["token"]


async def test_a_token_touches_only_its_own_admin_whatever_else_is_sent(api: Api) -> None:
    _, token = await connect(api)
    other_id, other_key = await new_admin(api.database)
    async with client(api.url, other_key) as other:
        await other.post(CONTACT, json={"id": "1", "first_name": "Theirs"})
        before = (await other.get("/api/admin/users")).json()
        for extra in ({}, {"X-Admin-ID": other_id}, {"Authorization": f"Bearer {other_key}"}):
            async with client(api.url, None) as http:
                headers = {"X-Flowkick-Token": token, **extra}
                body = {"id": "1", "first_name": "Ours", "admin_id": other_id, "adminId": other_id}
                answer = await http.post(CONTACT, json=body, headers=headers)
                assert answer.status_code in {200, 403}
        assert (await other.get("/api/admin/users")).json() == before
    (ours,) = (await api.http.get("/api/admin/users")).json()["users"]
    assert ours["firstName"] == "Ours"


async def test_a_wrong_token_is_refused_even_beside_a_good_key(api: Api) -> None:
    connection_id, token = await connect(api)
    await api.http.delete(f"{CONNECTIONS}/{connection_id}")
    for value in (token, "", "fkc_", "x" * 5000, "tökén", api.key):
        headers = {b"X-Flowkick-Token": value.encode()}
        answer = await api.http.post(CONTACT, json={"id": "1"}, headers=headers)
        assert answer.status_code == 401, value
        assert answer.json()["code"] == "unauthenticated"
        assert token not in answer.text
    assert (await api.http.get("/api/admin/users")).json()["users"] == []


async def test_revoking_one_token_leaves_the_others(api: Api) -> None:
    (first, first_token), (_, second_token) = await connect(api), await connect(api)
    for _ in range(2):  # revoking twice changes nothing
        revoked = await api.http.delete(f"{CONNECTIONS}/{first}")
        assert revoked.status_code == 200
        assert revoked.json()["connection"]["revokedAt"]
    async with client(api.url, None) as http:
        for token, status in ((first_token, 401), (second_token, 200)):
            headers = {"X-Flowkick-Token": token}
            answer = await http.post(CONTACT, json={"id": "1"}, headers=headers)
            assert answer.status_code == status


async def test_a_token_is_shown_once_and_not_stored(api: Api) -> None:
    _, token = await connect(api)
    assert token not in (await api.http.get(CONNECTIONS)).text
    if api.database.is_sqlite:
        path = api.database.url.database
        assert path is not None
        for suffix in ("", "-wal"):
            with open(path + suffix, "rb") as file:  # noqa: ASYNC230, PTH123
                assert token.encode() not in file.read()
