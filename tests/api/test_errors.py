"""Every failure has one shape, and a sentence that says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from flowkick.core.errors import SettingsError
from flowkick.storage.database import Database
from tests.conftest import client
from tests.support.server import Api

JSON = {"Content-Type": "application/json"}
CASES: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/nothing", {}, 404, "not_found"),
    ("PUT", "/api/admin/users", {}, 405, "method_not_allowed"),
    ("GET", "/api/admin/users?limt=1", {}, 400, "invalid_input"),
    ("GET", "/api/admin/users?limit=0", {}, 400, "invalid_input"),
    ("GET", "/api/admin/users?limit=x", {}, 400, "invalid_input"),
    ("GET", "/api/admin/users?cursor=usr_unknown", {}, 400, "invalid_input"),
    ("GET", "/api/admin/users/usr_%00", {}, 400, "invalid_input"),
    ("GET", "/api/admin/users/usr_unknown", {}, 404, "not_found"),
    ("GET", "/api/admin/deliveries/99999999999999999999", {}, 404, "not_found"),
    ("GET", "/api/admin/deliveries/-1", {}, 404, "not_found"),
    ("POST", "/api/admin/users", {"content": b"{", "headers": JSON}, 400, "invalid_input"),
    ("POST", "/api/admin/users", {"content": b"\xff", "headers": JSON}, 400, "invalid_input"),
    ("POST", "/api/admin/users", {"content": b"[" * 9999, "headers": JSON}, 400, "invalid_input"),
    ("POST", "/api/admin/users", {"json": []}, 400, "invalid_input"),
    ("POST", "/api/admin/users", {"json": {"firstname": "x"}}, 400, "invalid_input"),
    ("POST", "/api/admin/users", {"json": {"first_name": "x"}}, 400, "invalid_input"),
    ("POST", "/api/admin/users", {"json": {"firstName": "a\x00b"}}, 400, "invalid_input"),
    ("POST", "/api/admin/users", {"json": {"firstName": 5}}, 400, "invalid_input"),
    ("POST", "/api/admin/users", {"json": {"id": "usr_mine"}}, 400, "invalid_input"),
    ("POST", "/api/admin/users", {"data": {"firstName": "x"}}, 415, "unsupported_media_type"),
    ("POST", "/api/admin/users", {"content": b"{}"}, 415, "unsupported_media_type"),
]


def _one_shape(answer: httpx.Response) -> None:
    body = answer.json()
    assert list(body) == ["success", "error", "code", "details"]
    assert body["success"] is False
    assert len(body["error"]) > 10
    assert "hush" not in answer.text
    assert "10.0.0.7" not in answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(("method", "path", "request_", "status", "code"), CASES)
async def test_failures_have_one_shape(
    api: Api, method: str, path: str, request_: dict[str, Any], status: int, code: str
) -> None:
    answer = await api.http.request(method, path, **request_)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    _one_shape(answer)


async def test_who_may_not_and_what_conflicts_is_told_in_the_same_shape(api: Api) -> None:
    users = "/api/admin/users"
    async with client(api.url, None) as http:
        nobody = await http.post(users, json={})
    other = await api.http.post(users, json={}, headers={"X-Admin-ID": "adm_other"})
    await api.http.post(users, json={"manychatId": "1"})
    twice = await api.http.post(users, json={"manychatId": "1"})
    for answer, status in ((nobody, 401), (other, 403), (twice, 409)):
        assert answer.status_code == status, answer.text
        _one_shape(answer)
    assert nobody.headers["www-authenticate"].startswith("Bearer")


async def test_the_database_away_is_told_without_a_word_of_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> NoReturn:
        raise OperationalError("SELECT secret", {"p": "hush"}, ConnectionError("10.0.0.7"))

    monkeypatch.setattr(Database, "reading", away)
    answer = await api.http.get("/api/admin/users")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    _one_shape(answer)


@pytest.mark.parametrize("error", [RuntimeError("hush 10.0.0.7"), SettingsError("hush 10.0.0.7")])
async def test_a_failure_inside_is_told_without_a_word_of_it(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(Database, "reading", fail)
    answer = await api.http.get("/api/admin/users")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    _one_shape(answer)


async def test_what_is_no_json_is_told_with_its_place(api: Api) -> None:
    answer = await api.http.post("/api/admin/users", content=b'{"firstName":', headers=JSON)
    assert answer.status_code == 400
    (detail,) = answer.json()["details"]
    assert detail == {"field": "body", "problem": "is not valid JSON, from character 13 on"}


async def test_what_is_unknown_is_named(api: Api) -> None:
    answer = await api.http.post("/api/admin/users", json={"firstname": "x"})
    assert answer.json()["details"] == [{"field": "firstname", "problem": "unknown field"}]
    answer = await api.http.get("/api/admin/users?limt=1")
    assert answer.json()["details"][0]["field"] == "limt"


async def test_a_request_id_of_the_callers_own_comes_back(api: Api) -> None:
    answer = await api.http.get("/healthz", headers={"X-Request-ID": "trace-1.a"})
    assert answer.headers["x-request-id"] == "trace-1.a"
    answer = await api.http.get("/healthz", headers={"X-Request-ID": "no spaces"})
    assert answer.headers["x-request-id"].startswith("req_")


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b" " * 65_536


@pytest.mark.parametrize(("path", "limit"), [("users", 1), ("users/batch", 16)])
async def test_bodies_have_a_limit_whether_announced_or_not(
    api: Api, path: str, limit: int
) -> None:
    size = limit * 1024 * 1024 + 65_536
    for content in (b" " * size, _chunks(size)):
        answer = await api.http.post(f"/api/admin/{path}", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert f"{limit} MiB" in answer.json()["error"]
        _one_shape(answer)


async def test_a_post_under_an_idempotency_key_is_done_once(api: Api) -> None:
    body, headers = {"firstName": "Ada"}, {"Idempotency-Key": "key-1"}
    first = await api.http.post("/api/admin/users", json=body, headers=headers)
    again = await api.http.post("/api/admin/users", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await api.http.post("/api/admin/users", json={"firstName": "B"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    users = (await api.http.get("/api/admin/users")).json()
    assert users["pagination"]["total"] == 1


async def test_a_refused_post_leaves_its_idempotency_key_free(api: Api) -> None:
    headers = {"Idempotency-Key": "key-2"}
    refused = await api.http.post("/api/admin/users", json={"email": "x"}, headers=headers)
    assert refused.status_code == 400
    taken = await api.http.post("/api/admin/users", json={"email": "x@y.z"}, headers=headers)
    assert taken.status_code == 201
