"""Tools over HTTP."""

from __future__ import annotations

import pytest

from tests.history import made
from tests.history.made import get, patch, post
from tests.support.server import Api


async def test_tools_are_added_changed_and_listed(api: Api) -> None:
    made_first = await made.tool(api.http, name=" Table ", description="By the window")
    assert made_first["name"] == "Table"
    assert (made_first["exclusive"], made_first["active"]) == (False, True)
    path = f"/tools/{made_first['id']}"
    assert (await get(api.http, path))["tool"] == made_first
    assert (await patch(api.http, path, {"name": "Table", "active": True}))["tool"] == made_first
    changes = {"name": "Bar", "type": "bar", "exclusive": True, "description": None}
    changed = (await patch(api.http, path, changes))["tool"]
    assert changed == made_first | changes | {"updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] > made_first["updatedAt"]
    ids = [(await made.tool(api.http))["id"] for _ in range(4)]
    page = await get(api.http, "/tools", limit=3)
    rest = await get(api.http, "/tools", limit=3, cursor=page["pagination"]["nextCursor"])
    listed = [row["id"] for row in (*page["tools"], *rest["tools"])]
    assert listed == [*reversed(ids), changed["id"]]
    assert rest["pagination"]["hasMore"] is False


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_tool_that_cannot_be_is_refused(api: Api) -> None:
    tool = await made.tool(api.http)
    for wrong in (
        {"name": " "},
        {"name": None},
        {"name": "x" * 256},
        {"name": "\x00"},
        {"type": ""},
        {"type": "x" * 101},
        {"description": "x" * 10_001},
        {"exclusive": "yes"},
        {"active": None},
        {"id": "tol_mine"},
    ):
        assert (await post(api.http, "/tools", {"name": "Bar", **wrong}, 400))["details"]
        await patch(api.http, f"/tools/{tool['id']}", wrong, 400)
    await post(api.http, "/tools", {}, 400)
    assert (await get(api.http, "/tools"))["tools"] == [tool]
