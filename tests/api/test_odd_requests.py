"""Requests that no client library makes: they get the one shape of an error too."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.server import Api


async def raw(api: Api, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send these bytes; the status, headers and body of the answer."""
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    async with asyncio.timeout(60):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def request(api: Api, target: str, host: str = "x", *more: str) -> bytes:
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {api.key}",
        "Connection: close",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@pytest.mark.parametrize(
    "host", ["[", "[::1", "x y", "a:b:c", "", "x:99999999", "\xff", "@", "/?#"]
)
async def test_no_host_header_makes_a_failure(api: Api, host: str) -> None:
    for target, status in (
        ("/api/admin/webhooks", 200),
        ("/api/admin/webhooks/whs_0", 404),
        ("/nothing", 404),
    ):
        got, headers, body = await raw(api, request(api, target, host))
        assert got == status, body
        assert headers["x-request-id"].startswith("req_")
        assert json.loads(body)["success"] is (status == 200)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/admin/webhooks/%00", 400),
        ("/api/admin/webhooks/%ff%fe", 404),
        ("/api/admin/webhooks/%ed%a0%80", 404),
        ("/api/admin/webhooks/a%2Fb", 404),
        ("/api/admin/webhooks/" + "x" * 5000, 400),
        ("/api/admin/webhooks/..%2f..%2fetc", 404),
        ("/api/admin/webhooks?%00=1", 400),
        ("/api/admin/webhooks?a=%ff", 400),
        ("/api/admin/webhooks/", 404),
        ("//api/admin/webhooks", 404),
        ("/api/admin/users?search=%00", 400),
        ("/api/admin/deliveries/%D9%A3", 404),
    ],
)
async def test_odd_addresses_are_refused_in_the_one_shape(
    api: Api, target: str, status: int
) -> None:
    got, headers, body = await raw(api, request(api, target))
    answer = json.loads(body)
    assert (got, answer["success"]) == (status, False), body
    assert set(answer) == {"success", "error", "code", "details"}
    assert headers["x-request-id"]


@pytest.mark.parametrize(
    "value",
    [
        "Basic abc",
        "Bearer",
        "bearer fk_no",
        "Bearer fk_\xff",
        "Bearer " + "x" * 5000,
        "fk_no",
    ],
)
async def test_what_is_no_key_gets_a_challenge(api: Api, value: str) -> None:
    answer = await api.http.get(
        "/api/admin/webhooks", headers={b"Authorization": value.encode("latin-1")}
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "fk_no" not in answer.text
