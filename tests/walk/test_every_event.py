"""Every event is caused through the public API, arrives, and is what its published schema says."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs

from flowkick.webhooks.catalogue import ALL, expand
from tests.history import made
from tests.history.made import patch, post
from tests.support import lacking
from tests.support.endpoint import Endpoint
from tests.support.server import Api
from tests.users.recorded import create

Body = dict[str, Any]
PERSON = {
    "manychatId": "1234567890",
    "igUsername": "ada",
    "firstName": "Ada",
    "lastName": "Lovelace",
    "email": "ada@example.com",
    "phone": "+441234567890",
    "tags": ["vip", "newcomer"],
    "customFields": {"favorite_drink": "Cappuccino", "visit_count": 5},
}


async def _cause_everything(http: httpx.AsyncClient) -> Body:
    """Do what each of the events tells of; the user that it was done to, and with."""
    user = await create(http, **PERSON)
    path = f"/users/{user['id']}"
    tool = await made.tool(http, name="Table by the window")
    kept = await made.booking(http, user["id"], tool["id"])
    dropped = await made.booking(http, user["id"], tool["id"])
    await patch(http, f"/bookings/{kept['id']}", {"status": "confirmed", "notes": "A chair"})
    await post(http, f"/bookings/{kept['id']}/complete", {}, 200)
    await post(http, f"/bookings/{dropped['id']}/cancel", {}, 200)
    for owner in ({"userId": user["id"], "toolId": tool["id"]}, {}):
        code = await made.qr_code(http, metadata={"discount": 10}, **owner)
        await post(http, f"/qr-codes/{code['code']}/validate", {}, 200)
        await post(http, f"/qr-codes/{code['code']}/scan", {"scannedBy": "door"}, 200)
    await post(http, f"{path}/tags", {"name": "regular"}, 200)
    assert (await http.delete(f"/api/admin{path}/tags/newcomer")).status_code == 200
    drink = {"value": "Espresso"}
    answer = await http.put(f"/api/admin{path}/custom-fields/favorite_drink", json=drink)
    assert answer.status_code == 200
    await post(http, f"{path}/interactions", {"messagesCount": 3, "commentsCount": 2})
    assert (await http.delete(f"/api/admin{path}")).status_code == 200
    return user


async def test_every_event_arrives_and_fits_its_schema(api: Api) -> None:
    catalogue = (await made.get(api.http, "/webhooks/events"))["events"]
    schemas = {event["name"]: event["schema"] for event in catalogue}
    async with Endpoint() as endpoint:
        hook = {"url": endpoint.url, "events": ["*"]}
        await post(api.http, "/webhooks", hook)
        user = await _cause_everything(api.http)
        await endpoint.wait_for(17)
        bodies = [arrival.json() for arrival in endpoint.arrivals]
    assert {body["event"] for body in bodies} == expand([ALL])
    for body in bodies:
        validator = jsonschema_rs.Draft202012Validator(
            schemas[body["event"]], validate_formats=True
        )
        validator.validate(body)
    bodies.sort(key=lambda body: int(body["metadata"]["sequence"]))
    owned = [body for body in bodies if body["metadata"]["sequence"]]
    assert [body["metadata"]["sequence"] for body in owned] == list(range(1, 15))
    _use(owned, user)


def _use(bodies: list[Body], user: Body) -> None:
    """Receivers that read these keys, and would fail at one that is missing."""
    node = shutil.which("node") or lacking("Node")
    ran = subprocess.run(
        [node, str(Path(__file__).with_name("use_cases.js"))],
        input=json.dumps(bodies),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    done = json.loads(ran.stdout)
    created, updated = done["contacts"]
    assert created["email"] == "ada@example.com"
    assert created["properties"] == {
        "firstname": "Ada",
        "lastname": "Lovelace",
        "phone": "+441234567890",
        "instagram_username": "ada",
        "favorite_drink": "Cappuccino",
        "visit_count": "5",
        "tags": "newcomer,vip",
    }
    assert updated["properties"]["favorite_drink"] == "Espresso"
    assert updated["properties"]["tags"] == "vip,regular"
    row = ["Ada", "ada@example.com", made.START, made.END, "pending", "Table by the window"]
    assert done["rows"] == [row, row]
    assert done["activities"] == [
        {
            "userId": user["id"],
            "instagramUsername": "ada",
            "messagesCount": 3,
            "commentsCount": 2,
            "storiesCount": 0,
            "totalInteractions": 5,
            "bookingsCount": 2,
            "qrScansCount": 1,
        }
    ]
