"""What users did is read for many of them at once, the newest of each."""

from __future__ import annotations

from datetime import date, timedelta

from flowkick.core.clock import system_clock
from flowkick.history.models import (
    AIMessage,
    Booking,
    Conversation,
    InteractionHistory,
    QRCode,
    Tool,
)
from flowkick.history.recent import (
    load_recent_bookings,
    load_recent_conversations,
    load_recent_interactions,
    load_recent_qr_codes,
)
from flowkick.history.schemas import (
    BookingOfUser,
    ConversationOfUser,
    InteractionDay,
    QRCodeOfUser,
)
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.support.server import Api
from tests.users.recorded import create

HOUR = timedelta(hours=1)


async def fill(database: Database, admin_id: str, user_id: str, count: int) -> None:
    now = system_clock()
    stamps = {"created_at": now, "updated_at": now}
    async with database.transaction(admin_id) as session:
        session.add(Tool(id=f"tol_{user_id}", name="Table", type="table", **stamps))
        await session.flush()
        for number in range(count):
            key = f"{user_id}_{number:02}"
            session.add(
                Booking(
                    id=f"bkg_{key}",
                    user_id=user_id,
                    tool_id=f"tol_{user_id}",
                    start_time=now + number * HOUR,
                    end_time=now + (number + 1) * HOUR,
                    **stamps,
                )
            )
            later = {"created_at": now + number * HOUR, "updated_at": now}
            session.add(QRCode(id=f"qrc_{key}", code=key, user_id=user_id, **later))
            session.add(
                InteractionHistory(
                    id=f"int_{key}",
                    user_id=user_id,
                    day=date(2026, 1, 1) + timedelta(days=number),
                    messages_count=number,
                    **stamps,
                )
            )
            session.add(Conversation(id=f"cnv_{key}", user_id=user_id, **later))
        await session.flush()
        for number in range(3):
            session.add(
                AIMessage(
                    id=f"msg_{user_id}_{number}",
                    conversation_id=f"cnv_{user_id}_00",
                    number=number,
                    role="user",
                    content=str(number),
                    created_at=now,
                )
            )


async def test_the_newest_of_each_user_are_found_and_nobody_elses(api: Api) -> None:
    ids = [(await create(api.http))["id"] for _ in range(3)]
    database = api.database
    for user_id, count in zip(ids, (12, 2, 0), strict=True):
        await fill(database, api.admin_id, user_id, count) if count else None
    async with database.reading(api.admin_id) as session:
        bookings = await load_recent_bookings(session, ids)
        codes = await load_recent_qr_codes(session, ids, limit=3)
        days = await load_recent_interactions(session, ids)
        talks = await load_recent_conversations(session, ids, limit=12)
    first, second, third = ids
    assert [b["id"][-2:] for b in bookings[first]] == [f"{n:02}" for n in range(11, 1, -1)]
    assert [c["id"][-2:] for c in codes[first]] == ["11", "10", "09"]
    assert [d["messages_count"] for d in days[first]] == list(range(11, -1, -1))
    assert [m["content"] for m in talks[first][-1]["messages"]] == ["0", "1", "2"]
    for found, count in ((bookings, 2), (codes, 2), (days, 2), (talks, 2)):
        assert len(found[second]) == count
        assert found[third] == []
    BookingOfUser.model_validate(bookings[second][0])
    assert BookingOfUser.model_validate(bookings[second][0]).tool.name == "Table"
    assert QRCodeOfUser.model_validate(codes[second][0]).metadata is None
    assert InteractionDay.model_validate(days[second][0]).total_count == 1
    assert ConversationOfUser.model_validate(talks[second][0]).title is None
    other, _ = await new_admin(database)
    async with database.reading(other) as session:
        for load in (
            load_recent_bookings,
            load_recent_qr_codes,
            load_recent_interactions,
            load_recent_conversations,
        ):
            assert not await load(session, ids)
