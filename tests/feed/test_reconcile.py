"""A receiver finds out by hashes alone which users it has wrong, with the documented lines."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import update

from flowkick.users.models import User
from flowkick.users.reconciling import state_hash
from flowkick.webhooks import payloads, samples
from tests.conftest import client, new_admin
from tests.support import lacking
from tests.support.server import Api

DOCS = Path(__file__).parents[2] / "docs" / "receivers.md"


def snippet(language: str, name: str) -> str:
    (found,) = (
        part
        for part in re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if name in part
    )
    return str(found)


def documented_hash() -> Callable[[dict[str, Any]], str]:
    names: dict[str, Any] = {}
    exec(snippet("python", "def state_hash"), names)  # noqa: S102  # the docs' own lines
    hashed: Callable[[dict[str, Any]], str] = names["state_hash"]
    return hashed


def plain(user: payloads.UserPayload) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(msgspec.json.encode(user))
    return decoded


text = st.text(st.characters(codec="utf-8"), max_size=8)
users = st.builds(
    lambda name, fields, tags: msgspec.structs.replace(
        samples.USER,
        first_name=name,
        custom_fields=fields,
        tags=[payloads.TagPayload(id_, id_, "2025-11-06T09:00:00.000Z") for id_ in tags],
    ),
    text,
    st.dictionaries(text, st.none() | text, max_size=5),
    st.lists(text, unique=True, max_size=3),
)


@given(users)
@hypothesis_settings(deadline=None, max_examples=200)
def test_the_documented_hash_is_ours(user: payloads.UserPayload) -> None:
    assert documented_hash()(plain(user)) == state_hash(user)


def test_the_documented_hash_in_node_is_ours() -> None:
    odd = {"\U0001f600": "1", "\ufb01": '\u2028\x7f\x1f\t\\"', "a\x00": None, "é": "", "B": "b"}
    tags = [payloads.TagPayload(id_, id_, "x") for id_ in ("tag_2", "tag_1", "tag_10")]
    user = msgspec.structs.replace(samples.USER, custom_fields=odd, tags=tags, last_name=None)
    lines = (
        f"{snippet('javascript', 'stateHash')}\nconsole.log(stateHash({json.dumps(plain(user))}))"
    )
    node = shutil.which("node") or lacking("Node")
    ran = subprocess.run([node, "-e", lines], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout.strip() == state_hash(user)


async def states(api: Api, limit: int = 1000) -> dict[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {}
    cursor: dict[str, str] = {}
    while True:
        answer = await api.http.get("/api/admin/reconcile", params={"limit": limit, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for user in page["users"]:
            assert user["id"] not in found
            found[user["id"]] = (user["sequence"], user["hash"])
        if not page["pagination"]["hasMore"]:
            assert page["pagination"]["nextCursor"] is None
            return found
        cursor = {"cursor": page["pagination"]["nextCursor"]}


async def copied(api: Api) -> dict[str, tuple[int, dict[str, Any]]]:
    """What a receiver has that keeps the newest `data.user` of each user."""
    kept: dict[str, tuple[int, dict[str, Any]]] = {}
    page = (await api.http.get("/api/admin/events", params={"limit": 1000, "wait": 1})).json()
    for event in page["events"]:
        user, sequence = event["data"].get("user"), event["metadata"]["sequence"]
        if event["event"] == "user.deleted":
            kept.pop(user["id"], None)  # what was known of it is not in the feed any more
        elif user is not None and sequence >= kept.get(user["id"], (0,))[0]:
            kept[user["id"]] = (sequence, user)
    return kept


async def test_who_applied_every_event_has_the_same_hashes(api: Api) -> None:
    people = [
        {
            "manychatId": str(n),
            "firstName": f"Zoë {n}",
            "tags": ["b", "A"],
            "customFields": {"f": "1"},
        }
        for n in range(8)
    ]
    made = (await api.http.post("/api/admin/users/batch", json={"users": people})).json()["results"]
    ids = [one["id"] for one in made]
    path = "/api/admin/users"
    await api.http.patch(
        f"{path}/{ids[0]}", json={"email": "a@example.com", "exportConsentGiven": True}
    )
    await api.http.post(f"{path}/{ids[1]}/tags", json={"name": "c"})
    await api.http.delete(f"{path}/{ids[2]}/tags/b")
    await api.http.put(f"{path}/{ids[3]}/custom-fields/g", json={"value": "x"})
    await api.http.post(f"{path}/{ids[4]}/interactions", json={"messagesCount": 2})
    await api.http.delete(f"{path}/{ids[5]}")
    # These change what events don't tell with `data.user`: it is not hashed.
    await api.http.post("/api/admin/conversations", json={"userId": ids[6]})
    tool = (await api.http.post("/api/admin/tools", json={"name": "T"})).json()["tool"]["id"]
    when = {"startTime": "2026-03-01T18:00Z", "endTime": "2026-03-01T20:00Z"}
    booking = {"userId": ids[7], "toolId": tool, **when}
    booked = (await api.http.post("/api/admin/bookings", json=booking)).json()["booking"]["id"]
    await api.http.post(f"/api/admin/bookings/{booked}/cancel")
    hashed = documented_hash()
    kept = await copied(api)
    theirs = {id_: hashed(user) for id_, (_, user) in kept.items()}
    ours = await states(api)
    assert {id_: digest for id_, (_, digest) in ours.items()} == theirs
    assert await states(api, limit=3) == ours
    assert ours[ids[0]][0] == 2
    assert len(ours) == 7
    # What nobody told is found.
    async with api.database.transaction(api.admin_id) as session:
        await session.execute(
            update(User).where(User.id == ids[0]).values(phone="1"),
            execution_options={"synchronize_session": False},
        )
    wrong = {id_ for id_, (_, digest) in (await states(api)).items() if digest != theirs[id_]}
    assert wrong == {ids[0]}


async def test_a_stranger_has_no_states_and_wrong_cursors_are_refused(api: Api) -> None:
    await api.http.post("/api/admin/users", json={"firstName": "Ada"})
    _, other_key = await new_admin(api.database)
    async with client(api.url, other_key) as http:
        answer = await http.get("/api/admin/reconcile")
        assert answer.json()["users"] == []
    for wrong in ({"cursor": "c1.x"}, {"limit": 0}, {"limit": 1001}, {"after": "x"}):
        refused = await api.http.get("/api/admin/reconcile", params=wrong)
        assert refused.status_code == 400, wrong
