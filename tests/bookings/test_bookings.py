"""Bookings over HTTP: what is taken, what is refused, what is told."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

from flowkick.bookings.states import OPEN, TRANSITIONS, BookingStatus, check_transition
from flowkick.core.errors import Conflict
from tests.history import made
from tests.history.made import END, START, get, patch, post
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences

Body = dict[str, Any]


async def _user_and_tool(api: Api, **tool: Any) -> tuple[Body, Body]:
    user = await create(api.http, manychatId="1", firstName="Ada", email="ada@example.com")
    return user, await made.tool(api.http, **tool)


async def test_a_booking_is_made_shown_counted_and_told(api: Api) -> None:
    user, tool = await _user_and_tool(api)
    booking = await made.booking(api.http, user["id"], tool["id"], notes="A high chair")
    assert booking["tool"] == {"id": tool["id"], "name": "Table", "type": "table"}
    assert booking["user"]["firstName"] == "Ada"
    assert (booking["startTime"], booking["endTime"]) == (START, END)
    assert booking["status"] == "pending"
    assert (await get(api.http, f"/bookings/{booking['id']}"))["booking"] == booking
    told = (await events(api.database, user["id"]))[-1]
    assert told["event"] == "booking.created"
    assert told["metadata"] == told["metadata"] | {"source": "api", "sequence": 2}
    assert told["data"]["booking"] == {
        "id": booking["id"],
        "startTime": START,
        "endTime": END,
        "status": "pending",
        "notes": "A high chair",
        "tool": booking["tool"],
        "user": {
            "id": user["id"],
            "manychatId": "1",
            "instagramUsername": None,
            "firstName": "Ada",
            "lastName": None,
            "email": "ada@example.com",
            "phone": None,
        },
        "timestamps": {"createdAt": booking["createdAt"], "updatedAt": booking["updatedAt"]},
    }
    assert told["data"]["user"]["stats"]["bookingsCount"] == 1
    assert told["data"]["user"]["stats"]["lastBooking"] == booking["createdAt"]
    now = (await get(api.http, f"/users/{user['id']}"))["user"]
    assert now["bookingsCount"] == 1
    assert now["updatedAt"] > user["updatedAt"]


async def test_a_change_is_told_exactly_and_no_change_is_not(api: Api) -> None:
    user, tool = await _user_and_tool(api)
    other = await made.tool(api.http, name="Bar", type="table")
    booking = await made.booking(api.http, user["id"], tool["id"])
    path = f"/bookings/{booking['id']}"
    same = {"startTime": "2026-03-01T19:00:00.000999+01:00", "notes": None, "toolId": tool["id"]}
    unchanged = (await patch(api.http, path, same))["booking"]
    assert unchanged == booking
    assert (await patch(api.http, path, {}))["booking"] == booking
    assert await names(api.database, user["id"]) == ["user.created", "booking.created"]
    moved = {"toolId": other["id"], "endTime": "2026-03-01T21:00:00Z", "status": "confirmed"}
    changed = (await patch(api.http, path, moved))["booking"]
    assert changed["tool"]["name"] == "Bar"
    told = (await events(api.database, user["id"]))[-1]
    assert told["event"] == "booking.updated"
    assert told["data"]["changes"] == {
        "endTime": {"old": END, "new": "2026-03-01T21:00:00.000Z"},
        "status": {"old": "pending", "new": "confirmed"},
        "tool.id": {"old": tool["id"], "new": other["id"]},
        "tool.name": {"old": "Table", "new": "Bar"},
    }
    assert told["data"]["booking"]["status"] == "confirmed"


async def test_only_what_the_states_allow_happens_to_a_booking(api: Api) -> None:
    user, tool = await _user_and_tool(api)
    for ending, status in (("cancel", "cancelled"), ("complete", "completed")):
        booking = await made.booking(api.http, user["id"], tool["id"])
        path = f"/bookings/{booking['id']}"
        ended = (await post(api.http, f"{path}/{ending}", {}, 200))["booking"]
        assert ended["status"] == status
        told = (await events(api.database, user["id"]))[-1]
        assert told["event"] == f"booking.{status}"
        assert told["data"]["booking"]["status"] == status
        count = len(await names(api.database))
        for refused in (
            await post(api.http, f"{path}/cancel", {}, 409),
            await post(api.http, f"{path}/complete", {}, 409),
            await patch(api.http, path, {"status": "confirmed"}, 409),
            await patch(api.http, path, {"endTime": "2026-03-01T23:00:00Z"}, 409),
        ):
            assert f"is {status}" in refused["error"]
            assert refused["details"] == [{"field": "status", "status": status}]
        assert len(await names(api.database)) == count
        await patch(api.http, path, {"notes": "They were nice"})
        assert (await names(api.database, user["id"]))[-1] == "booking.updated"
    refused = await patch(api.http, path, {"status": "cancelled"}, 400)
    assert refused["details"][0]["field"] == "status"


@pytest.mark.parametrize("before", BookingStatus)
@pytest.mark.parametrize("after", BookingStatus)
def test_each_transition_is_allowed_or_names_the_present_state(
    before: BookingStatus, after: BookingStatus
) -> None:
    if after in TRANSITIONS[before]:
        assert before in OPEN
        ends = after in {BookingStatus.CANCELLED, BookingStatus.COMPLETED}
        expected = f"booking.{after.value}" if ends else "booking.updated"
        assert check_transition("bkg_1", before.value, after) == expected
    else:
        with pytest.raises(Conflict, match=f"bkg_1 is {before.value}:"):
            check_transition("bkg_1", before.value, after)


async def test_bookings_of_an_exclusive_tool_do_not_overlap(api: Api) -> None:
    user, tool = await _user_and_tool(api, exclusive=True)

    async def book(start: str, end: str, status: int) -> Body:
        body = {"userId": user["id"], "toolId": tool["id"], "startTime": start, "endTime": end}
        return await post(api.http, "/bookings", body, status)

    first = (await book("2026-03-01T18:00Z", "2026-03-01T20:00Z", 201))["booking"]
    for start, end in (
        ("2026-03-01T18:00Z", "2026-03-01T20:00Z"),
        ("2026-03-01T17:00Z", "2026-03-01T18:01Z"),
        ("2026-03-01T19:59Z", "2026-03-01T21:00Z"),
        ("2026-03-01T18:30Z", "2026-03-01T19:00Z"),
        ("2026-01-01T00:00Z", "2026-12-01T00:00Z"),
    ):
        refused = await book(start, end, 409)
        assert START in refused["error"]
        assert refused["details"][0]["bookingId"] == first["id"]
    before = (await book("2026-03-01T16:00Z", "2026-03-01T18:00Z", 201))["booking"]
    after = (await book("2026-03-01T20:00Z", "2026-03-01T22:00Z", 201))["booking"]
    path = f"/bookings/{after['id']}"
    await patch(api.http, path, {"startTime": "2026-03-01T19:00Z"}, 409)
    assert (await get(api.http, path))["booking"] == after
    await patch(api.http, path, {"startTime": "2026-03-01T20:30Z"})
    await post(api.http, f"/bookings/{first['id']}/cancel", {}, 200)
    await patch(api.http, path, {"startTime": "2026-03-01T19:00Z"})
    await patch(api.http, f"/bookings/{before['id']}", {"endTime": "2026-03-01T19:00Z"})
    shared = await made.tool(api.http)
    for _ in range(2):
        await made.booking(api.http, user["id"], shared["id"])
    into = {"toolId": tool["id"]}
    taken = await made.booking(api.http, user["id"], shared["id"])
    await patch(api.http, f"/bookings/{taken['id']}", into, 409)


async def test_an_inactive_tool_takes_no_bookings(api: Api) -> None:
    user, tool = await _user_and_tool(api)
    booking = await made.booking(api.http, user["id"], tool["id"])
    await patch(api.http, f"/tools/{tool['id']}", {"active": False})
    body = {"userId": user["id"], "toolId": tool["id"], "startTime": START, "endTime": END}
    assert "inactive" in (await post(api.http, "/bookings", body, 409))["error"]
    await post(api.http, f"/bookings/{booking['id']}/complete", {}, 200)


async def test_one_of_those_who_book_the_same_slot_at_once_gets_it(api: Api) -> None:
    tool = await made.tool(api.http, exclusive=True)
    users = [await create(api.http) for _ in range(20)]
    body = {"toolId": tool["id"], "startTime": START, "endTime": END}
    answers = await asyncio.gather(
        *(
            api.http.post("/api/admin/bookings", json={**body, "userId": user["id"]})
            for user in users
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert (await names(api.database)).count("booking.created") == 1
    others = [
        await made.booking(api.http, user["id"], tool["id"], startTime=start, endTime=end)
        for number, user in enumerate(users[:10])
        for start, end in [(f"2026-04-{number + 1:02}T10:00Z", f"2026-04-{number + 1:02}T11:00Z")]
    ]
    into = {"startTime": "2026-05-01T10:00Z", "endTime": "2026-05-01T11:00Z"}
    moves = await asyncio.gather(
        *(api.http.patch(f"/api/admin/bookings/{one['id']}", json=into) for one in others)
    )
    assert sorted(answer.status_code for answer in moves) == [200] + [409] * 9


async def test_whatever_happens_to_a_booking_at_once_happens_in_turn(api: Api) -> None:
    user, tool = await _user_and_tool(api)
    booking = await made.booking(api.http, user["id"], tool["id"])
    path = f"/api/admin/bookings/{booking['id']}"
    await asyncio.gather(
        *(api.http.patch(path, json={"notes": str(number)}) for number in range(15)),
        *(api.http.patch(f"/api/admin/users/{user['id']}", json={"lastName": n}) for n in "abc"),
        *(made.booking(api.http, user["id"], tool["id"]) for _ in range(3)),
    )
    ends = await asyncio.gather(
        *(api.http.post(f"{path}/{how}") for how in ("cancel", "complete") for _ in range(3))
    )
    assert sorted(answer.status_code for answer in ends) == [200] + [409] * 5
    told = await events(api.database, user["id"])
    assert sequences(told) == list(range(1, len(told) + 1))
    notes = [b["data"]["changes"]["notes"] for b in told if b["event"] == "booking.updated"]
    assert len(notes) == 15
    assert all(before["new"] == after["old"] for before, after in pairwise(notes))
    shown = (await get(api.http, f"/users/{user['id']}"))["user"]
    assert shown["bookingsCount"] == 4


async def test_bookings_are_listed_by_when_they_begin_and_filtered(api: Api) -> None:
    user, tool = await _user_and_tool(api)
    other, bar = await create(api.http), await made.tool(api.http, name="Bar")
    ids = []
    for day in range(1, 8):
        when = {"startTime": f"2026-03-0{day}T18:00Z", "endTime": f"2026-03-0{day}T19:00Z"}
        who = user if day % 2 else other
        what = bar if day > 5 else tool
        ids.append((await made.booking(api.http, who["id"], what["id"], **when))["id"])
    await post(api.http, f"/bookings/{ids[0]}/cancel", {}, 200)

    async def found(**params: Any) -> list[int]:
        answer = await get(api.http, "/bookings", **params)
        return [ids.index(row["id"]) + 1 for row in answer["bookings"]]

    assert await found() == [7, 6, 5, 4, 3, 2, 1]
    assert await found(userId=other["id"]) == [6, 4, 2]
    assert await found(toolId=bar["id"]) == [7, 6]
    assert await found(toolId=bar["id"], userId=other["id"]) == [6]
    assert await found(status="cancelled") == [1]
    assert await found(**{"from": "2026-03-03T18:00Z", "until": "2026-03-05T18:00Z"}) == [4, 3]
    assert await found(userId="usr_nobody") == []
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await get(api.http, "/bookings", limit=3, **cursor)
        seen += [row["id"] for row in page["bookings"]]
        assert page["pagination"]["hasMore"] is (page["pagination"]["nextCursor"] is not None)
        if not page["pagination"]["hasMore"]:
            break
        cursor = {"cursor": page["pagination"]["nextCursor"]}
        later = {"startTime": "2026-04-01T18:00Z", "endTime": "2026-04-01T19:00Z"}
        await made.booking(api.http, user["id"], tool["id"], **later)
    assert seen == ids[::-1]


async def test_a_booking_that_cannot_be_is_refused(api: Api) -> None:
    user, tool = await _user_and_tool(api)
    good = {"userId": user["id"], "toolId": tool["id"], "startTime": START, "endTime": END}
    for wrong, status in (
        ({"endTime": START}, 400),
        ({"endTime": "2026-03-01T17:59:59.999Z"}, 400),
        ({"endTime": "2027-03-02T18:00:00.001Z"}, 400),
        ({"startTime": "0001-01-01"}, 400),
        ({"startTime": "soon"}, 400),
        ({"startTime": None}, 400),
        ({"startTime": 5}, 400),
        ({"status": "cancelled"}, 400),
        ({"status": "nope"}, 400),
        ({"notes": "\x00"}, 400),
        ({"notes": "x" * 10_001}, 400),
        ({"userId": ""}, 400),
        ({"userId": "\ud800"}, 400),
        ({"extra": 1}, 400),
        ({"userId": "usr_nobody"}, 404),
        ({"toolId": "tol_nothing"}, 404),
    ):
        await _refused(api, {**good, **wrong}, status)
    assert await names(api.database) == ["user.created"]
    for params in (
        {"status": "nope"},
        {"from": "soon"},
        {"until": "x"},
        {"limit": 0},
        {"limit": 201},
        {"cursor": "x"},
        {"cursor": "é"},
        {"cursor": "MjAyNgB4"},
        {"userId": "x" * 101},
        {"nope": 1},
    ):
        answer = await api.http.get("/api/admin/bookings", params=params)
        assert answer.status_code == 400, (params, answer.text)


async def _refused(api: Api, body: Body, status: int) -> None:
    content = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    answer = await api.http.post("/api/admin/bookings", content=content, headers=headers)
    assert answer.status_code == status, (body, answer.text)


async def test_a_booking_asked_for_again_under_its_key_is_made_once(api: Api) -> None:
    user, tool = await _user_and_tool(api, exclusive=True)
    body = {"userId": user["id"], "toolId": tool["id"], "startTime": START, "endTime": END}
    headers = {"Idempotency-Key": "one"}
    answers = [
        await api.http.post("/api/admin/bookings", json=body, headers=headers) for _ in range(3)
    ]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    path = f"/api/admin/bookings/{answers[0].json()['booking']['id']}/cancel"
    ends = [await api.http.post(path, headers={"Idempotency-Key": "two"}) for _ in range(2)]
    assert [answer.status_code for answer in ends] == [200, 200]
    told = await names(api.database, user["id"])
    assert told == ["user.created", "booking.created", "booking.cancelled"]


async def test_bookings_go_with_their_user(api: Api) -> None:
    user, tool = await _user_and_tool(api)
    booking = await made.booking(api.http, user["id"], tool["id"])
    await api.http.delete(f"/api/admin/users/{user['id']}")
    assert (await api.http.get(f"/api/admin/bookings/{booking['id']}")).status_code == 404
    assert (await get(api.http, "/bookings"))["bookings"] == []
