"""What a transaction records is queued for everybody who asked for it, in the order it happened."""

from __future__ import annotations

from itertools import chain, repeat

from flowkick.core.settings import Settings
from flowkick.storage.database import Database
from flowkick.webhooks import payloads, samples
from flowkick.webhooks.outbox import Draft
from tests.conftest import new_admin
from tests.support import factories

CREATED = Draft("user.created", payloads.UserCreated(samples.USER), samples.USER.id, 1)
TAGGED = Draft("tag.added", payloads.TagChanged(samples.USER, samples.TAG), samples.USER.id, 2)
BOOKED = Draft(
    "booking.created", payloads.BookingCreated(samples.BOOKING, samples.USER), samples.USER.id, 3
)


async def test_deliveries_are_numbered_as_events_happened(
    database: Database, settings: Settings
) -> None:
    admin_id, _ = await new_admin(database)
    other_id, _ = await new_admin(database)
    wanted = [(["*"], True), (["user.*", "user.created"], True), (["tag.added"], False)]
    made = [
        await factories.create_subscription(
            database, settings.key_ring, admin_id, "http://127.0.0.1:9/", events=events, active=on
        )
        for events, on in [*wanted, (["qr.*"], True)]
    ]
    await factories.create_subscription(
        database, settings.key_ring, other_id, "http://127.0.0.1:9/", events=["*"]
    )
    drafts = list(chain.from_iterable(repeat([BOOKED, CREATED, TAGGED, CREATED], 10)))

    ids = await factories.emit(database, admin_id, drafts)

    rows = await factories.deliveries(database)
    order = {event_id: number for number, event_id in enumerate(ids)}
    told = [order[row.event_id] for row in rows]
    assert told == sorted(told)
    for subscription_id, names, status in zip(
        made,
        (
            [draft.event for draft in drafts],
            ["user.created"] * 20,
            ["tag.added"] * 10,
            [],
        ),
        ("pending", "pending", "held", None),
        strict=True,
    ):
        theirs = [row for row in rows if row.subscription_id == subscription_id]
        assert [row.event for row in theirs] == names
        assert {row.status for row in theirs} == ({status} if names else set())
        assert all((row.due_at is None) == (row.status == "held") for row in theirs)
    assert {row.admin_id for row in rows} == {admin_id}
