"""QR codes over HTTP: made, drawn, changed, validated, scanned once."""

from __future__ import annotations

import json
import struct
from datetime import timedelta
from typing import Any

import pytest
import segno

from flowkick.core.clock import isoformat, system_clock
from flowkick.core.ids import new_code
from tests.history import made
from tests.history.made import get, patch, post
from tests.support.server import Api
from tests.users.recorded import create, events, names

Body = dict[str, Any]
METADATA = {"discount": 10, "half": 0.5, "nested": {"list": [1, None, True, "é"]}, "": ""}


async def test_a_code_is_made_shown_counted_and_told(api: Api) -> None:
    user, tool = await create(api.http, firstName="Ada"), await made.tool(api.http)
    given = {
        "code": "WELCOME-1",
        "type": "ticket",
        "userId": user["id"],
        "metadata": METADATA,
        "expiresAt": "2999-12-31T00:00:00.000Z",
    }
    code = await made.qr_code(api.http, toolId=tool["id"], **given)
    assert code == code | given
    assert code["tool"] == {"id": tool["id"], "name": "Table", "type": "table"}
    assert (code["active"], code["scannedAt"], code["scannedBy"]) == (True, None, None)
    assert (await get(api.http, "/qr-codes/WELCOME-1"))["qrCode"] == code
    told = (await events(api.database, user["id"]))[-1]
    assert told["event"] == "qr.created"
    shown = told["data"]["qrCode"]
    assert list(shown) == [
        *("id", "code", "type", "metadata", "active", "expiresAt", "scannedAt", "scannedBy"),
        *("tool", "user", "createdAt"),
    ]
    assert {**shown, "user": None} == {
        **{name: value for name, value in code.items() if name in shown},
        "user": None,
    }
    assert shown["user"]["firstName"] == "Ada"
    assert told["data"]["user"]["id"] == user["id"]
    assert (await get(api.http, f"/users/{user['id']}"))["user"]["qrCodesCount"] == 1


async def test_a_code_of_nobody_is_told_of_without_a_user(api: Api) -> None:
    code = await made.qr_code(api.http)
    await post(api.http, f"/qr-codes/{code['code']}/validate", {}, 200)
    await post(api.http, f"/qr-codes/{code['code']}/scan", {"scannedBy": "door"}, 200)
    told = await events(api.database)
    assert {body["event"] for body in told} == {"qr.created", "qr.validated", "qr.scanned"}
    assert {body["metadata"]["sequence"] for body in told} == {0}
    assert all(body["data"]["user"] is None for body in told)


async def test_codes_that_nobody_gave_differ_and_given_ones_are_unique(api: Api) -> None:
    codes = {(await made.qr_code(api.http))["code"] for _ in range(5)}
    assert len(codes) == 5
    assert all(len(code) == 19 for code in codes | {new_code()})
    user = await create(api.http)
    await made.qr_code(api.http, code="one")
    refused = await post(api.http, "/qr-codes", {"code": "one", "userId": user["id"]}, 409)
    assert refused["details"] == [{"field": "code", "code": "one"}]
    await made.qr_code(api.http, code="ONE")
    assert (await get(api.http, f"/users/{user['id']}"))["user"]["qrCodesCount"] == 0
    assert (await names(api.database)).count("qr.created") == 7


async def test_a_code_is_scanned_once_and_the_second_learns_who_was_first(api: Api) -> None:
    user = await create(api.http)
    code = await made.qr_code(api.http, userId=user["id"])
    path = f"/qr-codes/{code['code']}"
    assert (await post(api.http, f"{path}/validate", {}, 200))["qrCode"] == code
    scanned = (await post(api.http, f"{path}/scan", {"scannedBy": " front desk "}, 200))["qrCode"]
    assert scanned["scannedBy"] == "front desk"
    for refused in (
        await post(api.http, f"{path}/scan", {"scannedBy": "bar"}, 409),
        await post(api.http, f"{path}/validate", {}, 409),
    ):
        assert f"scanned by front desk at {scanned['scannedAt']}" in refused["error"]
        assert refused["details"] == [
            {"field": "code", "scannedAt": scanned["scannedAt"], "scannedBy": "front desk"}
        ]
    assert (await get(api.http, path))["qrCode"] == scanned
    told = await events(api.database, user["id"])
    assert [body["event"] for body in told[1:]] == ["qr.created", "qr.validated", "qr.scanned"]
    assert told[2]["data"]["qrCode"]["scannedAt"] is None
    assert told[3]["data"]["scannedBy"] == "front desk"
    assert told[3]["data"]["qrCode"]["scannedAt"] == scanned["scannedAt"]
    assert told[3]["data"]["user"]["stats"]["qrScansCount"] == 1


async def test_an_expired_or_inactive_code_is_refused_until_that_changes(api: Api) -> None:
    past = isoformat(system_clock() - timedelta(seconds=1))
    code = await made.qr_code(api.http, expiresAt=past)
    path = f"/qr-codes/{code['code']}"
    for change, why in (({}, "expired at"), ({"active": False, "expiresAt": None}, "inactive")):
        await patch(api.http, path, change)
        for refused in (
            await post(api.http, f"{path}/scan", {"scannedBy": "bar"}, 409),
            await post(api.http, f"{path}/validate", {}, 409),
        ):
            assert why in refused["error"]
            assert refused["code"] == "conflict"
    assert await names(api.database) == ["qr.created"]
    changed = (await patch(api.http, path, {"active": True, "metadata": {"a": 1}}))["qrCode"]
    assert changed["metadata"] == {"a": 1}
    assert (await patch(api.http, path, {"active": True}))["qrCode"] == changed
    await post(api.http, f"{path}/scan", {"scannedBy": "bar"}, 200)
    assert (await patch(api.http, path, {"metadata": None}))["qrCode"]["metadata"] is None


async def test_the_image_says_the_code(api: Api) -> None:
    await made.qr_code(api.http, code="WELCOME-1")
    answer = await api.http.get("/api/admin/qr-codes/WELCOME-1.png", params={"scale": 2})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG\r\n")
    expected = segno.make_qr("WELCOME-1", error="m")
    assert struct.unpack(">II", answer.content[16:24]) == expected.symbol_size(scale=2, border=4)
    assert (await api.http.get("/api/admin/qr-codes/WELCOME-2.png")).status_code == 404
    for scale in ("0", "41", "x"):
        refused = await api.http.get(f"/api/admin/qr-codes/WELCOME-1.png?scale={scale}")
        assert refused.status_code == 400
        assert refused.json()["code"] == "invalid_input"


async def test_codes_are_listed_newest_first_and_filtered(api: Api) -> None:
    user, tool = await create(api.http), await made.tool(api.http)
    await made.qr_code(api.http, code="a", userId=user["id"])
    await made.qr_code(api.http, code="b", toolId=tool["id"], type="ticket")
    await made.qr_code(api.http, code="c", active=False)
    await post(api.http, "/qr-codes/a/scan", {"scannedBy": "x"}, 200)

    async def found(**params: Any) -> str:
        answer = await get(api.http, "/qr-codes", **params)
        return "".join(row["code"] for row in answer["qrCodes"])

    assert await found() == "cba"
    assert await found(userId=user["id"]) == "a"
    assert await found(toolId=tool["id"]) == "b"
    assert await found(type="ticket") == "b"
    assert await found(active="false") == "c"
    assert await found(scanned="true") == "a"
    assert await found(scanned="false", active="true") == "b"
    first = await get(api.http, "/qr-codes", limit=2)
    rest = await get(api.http, "/qr-codes", cursor=first["pagination"]["nextCursor"])
    assert [row["code"] for row in rest["qrCodes"]] == ["a"]
    assert rest["pagination"] == {"limit": 50, "hasMore": False, "nextCursor": None}


DEEP: Any = "x"
for _ in range(11):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_code_that_cannot_be_is_refused(api: Api) -> None:
    headers = {"content-type": "application/json"}
    bad: list[Body] = [
        {"code": ""},
        {"code": "a b"},
        {"code": "a.png"},
        {"code": "a/b"},
        {"code": "é"},
        {"code": "a\n"},
        {"code": "x" * 65},
        {"code": 5},
        {"type": ""},
        {"metadata": []},
        {"metadata": "x"},
        {"metadata": {"a": "\x00"}},
        {"metadata": {"\x00": 1}},
        {"metadata": {"a": ["\ud800"]}},
        {"metadata": {"a": 2**53}},
        {"metadata": {"a": 1e300}},
        {"metadata": {"a": "x" * 17_000}},
        {"metadata": DEEP},
        {"expiresAt": "soon"},
        {"scannedAt": "2026-01-01"},
    ]
    for wrong in bad:
        content = json.dumps(wrong).encode()
        answer = await api.http.post("/api/admin/qr-codes", content=content, headers=headers)
        assert answer.status_code == 400, (wrong, answer.text)
    nan = b'{"metadata": {"a": NaN}}'
    answer = await api.http.post("/api/admin/qr-codes", content=nan, headers=headers)
    assert answer.status_code == 400
    for body in ({"userId": "usr_nobody"}, {"toolId": "tol_nothing"}):
        await post(api.http, "/qr-codes", body, 404)
    code = (await made.qr_code(api.http))["code"]
    scans: list[Body] = [{}, {"scannedBy": " "}, {"scannedBy": "x" * 256}, {"scannedBy": None}]
    for body in scans:
        await post(api.http, f"/qr-codes/{code}/scan", body, 400)
    patches: list[Body] = [{"code": "x"}, {"active": None}, {"metadata": 5}]
    for body in patches:
        await patch(api.http, f"/qr-codes/{code}", body, 400)
    for name in ("nothing", "%00", "%20", "é", "x" * 101):
        answer = await api.http.post(f"/api/admin/qr-codes/{name}/validate")
        assert answer.status_code in {400, 404}, answer.text
    assert await names(api.database) == ["qr.created"]


async def test_what_both_databases_hold_comes_back_as_it_was(api: Api) -> None:
    numbers = {"a": 1.0, "b": 1e15, "c": 1e-300, "d": -(2**53) + 1, "e": False, "f": None}
    code = await made.qr_code(api.http, metadata={**METADATA, **numbers})
    assert code["metadata"] == {**METADATA, **numbers}
    assert (await get(api.http, f"/qr-codes/{code['code']}"))["qrCode"] == code
    await post(api.http, f"/qr-codes/{code['code']}/scan", {"scannedBy": "x"}, 200)
    told = await events(api.database)
    assert {json.dumps(body["data"]["qrCode"]["metadata"], sort_keys=True) for body in told} == {
        json.dumps(code["metadata"], sort_keys=True)
    }
