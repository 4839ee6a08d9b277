"""Code that writes bookings and QR codes itself tells of them in its own transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from flowkick import emitters
from flowkick.core.errors import NotFound
from flowkick.history.models import Booking, QRCode
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.history import made
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences

START = datetime(2026, 3, 1, 18, 0, 0, 123_456, tzinfo=UTC)


@pytest_asyncio.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    """An engine that Flowkick knows nothing of."""
    driver = "sqlite+aiosqlite" if database.is_sqlite else "postgresql+asyncpg"
    engine = create_async_engine(database.url.set(drivername=driver), pool_size=20)
    yield engine
    await engine.dispose()


def _booking(api: Api, key: str, user_id: str, tool_id: str) -> Booking:
    return Booking(
        id=f"bkg_{key}",
        admin_id=api.admin_id,
        user_id=user_id,
        tool_id=tool_id,
        start_time=START,
        end_time=START + timedelta(hours=1),
        created_at=START,
        updated_at=START,
    )


async def test_each_emitter_tells_in_the_callers_transaction(api: Api, engine: AsyncEngine) -> None:
    user = await create(api.http)
    tool = await made.tool(api.http)
    admin = api.admin_id
    changes: dict[str, dict[str, Any]] = {
        "notes": {"old": None, "new": "x"},
        "status": {"old": 1, "new": 1},
    }
    async with AsyncSession(engine) as session, session.begin():
        session.add(_booking(api, "1", user["id"], tool["id"]))
        session.add(
            QRCode(
                id="qrc_1",
                admin_id=admin,
                code="one",
                user_id=user["id"],
                created_at=START,
                updated_at=START,
            )
        )
        await emitters.emit_booking_created(session, admin, "bkg_1")
        await session.execute(update(Booking).values(notes="x"))
        await emitters.emit_booking_updated(session, admin, "bkg_1", changes)
        assert await emitters.emit_booking_updated(session, admin, "bkg_1", {}) is None
        await emitters.emit_booking_cancelled(session, admin, "bkg_1")
        await emitters.emit_booking_completed(session, admin, "bkg_1")
        await emitters.emit_qr_created(session, admin, "qrc_1")
        await emitters.emit_qr_validated(session, admin, "qrc_1")
        await session.execute(update(QRCode).values(scanned_at=START, scanned_by="me"))
        await emitters.emit_qr_scanned(session, admin, "qrc_1", "me")
    told = (await events(api.database, user["id"]))[1:]
    assert [body["event"] for body in told] == [
        *("booking.created", "booking.updated", "booking.cancelled", "booking.completed"),
        *("qr.created", "qr.validated", "qr.scanned"),
    ]
    assert sequences(told) == list(range(2, 9))
    assert {body["metadata"]["source"] for body in told} == {"app"}
    assert told[0]["data"]["booking"]["startTime"] == "2026-03-01T18:00:00.123Z"
    assert told[0]["data"]["user"]["stats"]["bookingsCount"] == 1
    assert told[1]["data"]["changes"] == {"notes": {"old": None, "new": "x"}}
    assert told[1]["data"]["booking"]["notes"] == "x"
    assert told[6]["data"]["scannedBy"] == told[6]["data"]["qrCode"]["scannedBy"] == "me"
    assert told[6]["data"]["user"]["stats"]["qrScansCount"] == 1
    shown = (await made.get(api.http, f"/users/{user['id']}"))["user"]
    assert (shown["bookingsCount"], shown["qrCodesCount"]) == (1, 1)


async def test_what_is_rolled_back_unknown_or_anothers_is_not_told(
    api: Api, engine: AsyncEngine
) -> None:
    user = await create(api.http)
    tool = await made.tool(api.http)
    code = await made.qr_code(api.http)
    booking = await made.booking(api.http, user["id"], tool["id"])
    before = await names(api.database)
    other, _ = await new_admin(api.database)
    async with AsyncSession(engine) as session:
        session.add(_booking(api, "1", user["id"], tool["id"]))
        await emitters.emit_booking_created(session, api.admin_id, "bkg_1")
        await session.rollback()
        async with session.begin():
            for admin_id, booking_id, code_id in (
                (api.admin_id, "bkg_none", "qrc_none"),
                (other, booking["id"], code["id"]),
            ):
                with pytest.raises(NotFound):
                    await emitters.emit_booking_created(session, admin_id, booking_id)
                with pytest.raises(NotFound):
                    await emitters.emit_booking_cancelled(session, admin_id, booking_id)
                with pytest.raises(NotFound):
                    await emitters.emit_qr_scanned(session, admin_id, code_id, "me")
    assert await names(api.database) == before
    shown = (await made.get(api.http, f"/users/{user['id']}"))["user"]
    assert shown["bookingsCount"] == 1


async def test_those_who_write_and_tell_at_once_do_not_disturb_each_other(
    api: Api, engine: AsyncEngine
) -> None:
    user = await create(api.http)
    tool = await made.tool(api.http)

    async def tell(number: int) -> None:
        async with AsyncSession(engine) as session, session.begin():
            session.add(_booking(api, str(number), user["id"], tool["id"]))
            await session.flush()  # which holds a share of the user, as of the tool
            await emitters.emit_booking_created(session, api.admin_id, f"bkg_{number}")

    async def book(_: int) -> Any:
        return await made.booking(api.http, user["id"], tool["id"])

    await asyncio.gather(*(act(number) for number in range(15) for act in (tell, book)))
    assert sequences(await events(api.database, user["id"])) == list(range(1, 32))
    shown = (await made.get(api.http, f"/users/{user['id']}"))["user"]
    assert shown["bookingsCount"] == 30
