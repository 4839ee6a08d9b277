"""Users: added, changed, found, deleted. Each change emits its events in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from flowkick.core.errors import Conflict, NotFound, Suppressed
from flowkick.core.ids import new_id
from flowkick.history.models import Booking, QRCode
from flowkick.storage.bulk import DO_NOTHING, BulkStatement
from flowkick.storage.dialects import among, one_by_one
from flowkick.storage.tenancy import TenantSession
from flowkick.users import fields
from flowkick.users.folding import user_keys
from flowkick.users.models import NewUser, User
from flowkick.users.suppression import lift, refusal, suppressed
from flowkick.users.writing import MANYCHAT, Desired, Target, make_labels, write
from flowkick.webhooks import outbox
from flowkick.webhooks.outbox import Draft
from flowkick.webhooks.payloads import DeletedUser, UserDeleted

_COLUMNS: Final = tuple(attribute.key for attribute in User.__mapper__.column_attrs)
_INSERT_USERS: Final = BulkStatement.insert(User, *_COLUMNS, on_conflict=DO_NOTHING)
DEFAULTS: Final = {
    attribute.key: column.default.arg if column.default is not None else None
    for attribute in User.__mapper__.column_attrs
    for column in attribute.columns
}
_TRIES: Final = 3
IMPORT: Final = "import"
"""The source of what comes from files."""


async def find_user(
    session: TenantSession, user_id: str, *, lock: bool = False, to_delete: bool = False
) -> User:
    """One user; NotFound where the admin has none with this id.

    With `lock`, nobody else changes it before the end of the transaction. PostgreSQL's FOR NO KEY
    UPDATE lets rows that point to it be written: two that both wrote one, and then lock the user,
    would otherwise wait for each other.
    """
    statement = select(User).where(User.id == user_id)
    if lock:
        statement = statement.with_for_update(key_share=not to_delete)
    user = await session.scalar(statement)
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    return user


async def create_user(
    session: TenantSession, desired: Desired, *, source: str, now: datetime
) -> User:
    """Add a user; Conflict where its manychatId is taken."""
    target = await _insert_one(session, desired, source=source, now=now)
    await write(session, [target], source=source, now=now)
    return await find_user(session, target.user.id)


async def _insert_one(
    session: TenantSession, desired: Desired, *, source: str, now: datetime
) -> Target:
    """Add a user; again where the one who had its manychatId was deleted meanwhile."""
    for _ in range(_TRIES):
        (target,) = await insert_users(session, [desired], source=source, now=now)
        if isinstance(target, Suppressed):
            raise target
        if target is not None:
            return target
        refused = await _taken(session, desired.values.get("manychat_id"))
        if refused.details:
            break
    raise refused


async def change_user(
    session: TenantSession, user_id: str, desired: Desired, *, source: str, now: datetime
) -> Target:
    """Change a user; nothing is emitted where nothing differs."""
    user = await find_user(session, user_id, lock=True)
    manychat_id = desired.values.get("manychat_id")
    if manychat_id not in {None, user.manychat_id}:
        await _admit(session, [(manychat_id, desired)], source)
    target = existing(user, desired, now)
    try:
        async with session.begin_nested():  # so that the transaction outlives a refused id
            await write(session, [target], source=source, now=now)
    except IntegrityError:
        raise await _taken(session, manychat_id) from None
    return target


async def _taken(session: TenantSession, manychat_id: str | None) -> Conflict:
    """The error that names the user who has this manychatId, if there is still one."""
    taken = await session.scalar(select(User.id).where(User.manychat_id == manychat_id))
    if taken is None:
        return Conflict("Another user had this manychatId until just now: send it once more.")
    return Conflict(
        f"The user {taken} has this manychatId already: change that one instead.",
        details=[{"field": "manychatId", "userId": taken}],
    )


async def delete_user(
    session: TenantSession, user_id: str, *, source: str, now: datetime
) -> tuple[User, str]:
    """Delete a user and all that is theirs; the user, and the id of the event that tells of it."""
    await _lock_history(session, user_id)
    user = await find_user(session, user_id, lock=True, to_delete=True)
    data = UserDeleted(DeletedUser(user.id, user.manychat_id))
    draft = Draft("user.deleted", data, user.id, user.sequence + 1)
    await session.delete(user)
    await session.flush()
    (event_id,) = await outbox.emit(session, [draft], source=source, now=now)
    return user, event_id


async def _lock_history(session: TenantSession, user_id: str) -> None:
    """Lock what goes with a user before the user itself, as those do who change it."""
    for model in (Booking, QRCode):
        theirs = select(model.id).where(model.user_id == user_id).order_by(model.id)
        await session.execute(theirs.with_for_update())


async def upsert_users(
    session: TenantSession,
    desired: Sequence[Desired],
    *,
    source: str,
    now: datetime,
    later: Sequence[Desired] = (),
    told: bool = True,
) -> list[Target | Suppressed]:
    """Add or change users by their `manychat_id`, which each of them has and no two share.

    Suppressed stands for who was erased. `later` is what the same transaction writes of these users
    afterwards. Without `told`, no event tells of it.
    """
    waiting = {item.values["manychat_id"]: item for item in desired}
    found: dict[str, Target | Suppressed] = {}
    while waiting:  # again where others added some of them meanwhile, or deleted those again
        for manychat_id, user in (await _by_manychat_id(session, waiting)).items():
            found[manychat_id] = existing(user, waiting.pop(manychat_id), now)
        missing = sorted(waiting)  # as all do, so that none deadlock
        made = await insert_users(
            session, [waiting[id_] for id_ in missing], source=source, now=now, told=told
        )
        for manychat_id, target in zip(missing, made, strict=True):
            if target is not None:
                found[manychat_id] = target
                del waiting[manychat_id]
    outcomes = [found[item.values["manychat_id"]] for item in desired]
    if later:
        await make_labels(session, [*desired, *later], now)
    targets = [outcome for outcome in outcomes if isinstance(outcome, Target)]
    await write(session, targets, source=source, now=now, told=told)
    return outcomes


def existing(user: User, desired: Desired, now: datetime) -> Target:
    """What is to become of a user who is there, and locked."""
    values = fields.with_consent_date(desired.values, now)
    if values.get("export_consent_given") == user.export_consent_given and (
        "export_consent_at" not in desired.values
    ):
        values.pop("export_consent_at", None)
    desired.values = values
    return Target(user, desired)


async def _by_manychat_id(session: TenantSession, ids: Iterable[str]) -> dict[str, User]:
    users = await lock_users(session, User.manychat_id, ids)
    return {user.manychat_id: user for user in users if user.manychat_id is not None}


async def lock_users(session: TenantSession, column: Any, values: Iterable[str]) -> Sequence[User]:
    """The users in whose `column` one of `values` stands, locked in the order of these.

    The column is one with a unique index.
    """
    rows = await session.scalars(
        one_by_one(session, User, column, sorted(values), lock=True),
        execution_options={"populate_existing": True},
    )
    return rows.all()


async def insert_users(
    session: TenantSession,
    desired: Sequence[Desired],
    *,
    source: str,
    now: datetime,
    told: bool = True,
) -> list[Target | Suppressed | None]:
    """Add users; None stands for each whose manychatId is taken, Suppressed for who was erased.

    The number of its first event is taken unless no event tells of it.
    """
    if not desired:
        return []
    rows = [
        {**_row(session.admin_id, item.values, source, now), "sequence": int(told)}
        for item in desired
    ]
    added = {row["id"] for row in rows}
    if await _INSERT_USERS.run(session, rows) < len(rows):
        found = await session.scalars(select(User.id).where(among(session, User.id, list(added))))
        added = set(found)
    named = [(row["manychat_id"], item) for row, item in zip(rows, desired, strict=True)]
    refused = await _refused(session, [pair for pair in named if pair[0] is not None], source)
    if refused:
        # Looked for only now: whoever erased them while these rows waited is seen here.
        back = [row["id"] for row in rows if row["manychat_id"] in refused and row["id"] in added]
        await session.execute(
            delete(User).where(among(session, User.id, back)),
            execution_options={"synchronize_session": False},
        )
    return [
        refusal()
        if row["manychat_id"] in refused
        else Target(NewUser(**row), item, is_new=True)
        if row["id"] in added
        else None
        for row, item in zip(rows, desired, strict=True)
    ]


async def _refused(
    session: TenantSession, named: Sequence[tuple[str, Desired]], source: str
) -> set[str]:
    """Who of these was erased and did not consent anew; who did is suppressed no longer."""
    erased = await suppressed(session, [manychat_id for manychat_id, _ in named])
    anew = {
        manychat_id
        for manychat_id, item in named
        if manychat_id in erased and _is_anew(item.values, erased[manychat_id], source)
    }
    await lift(session, sorted(anew))
    return set(erased) - anew


def _is_anew(values: Mapping[str, Any], erased_at: datetime, source: str) -> bool:
    """Whether a consent was given since the erasure. Files tell old ones: theirs need a date."""
    if not values.get("export_consent_given"):
        return False
    given_at: datetime | None = values.get("export_consent_at")
    return source != IMPORT if given_at is None else given_at > erased_at


async def _admit(session: TenantSession, named: Sequence[tuple[str, Desired]], source: str) -> None:
    if await _refused(session, named, source):
        raise refusal()


def _row(admin_id: str, values: Mapping[str, Any], source: str, now: datetime) -> dict[str, Any]:
    values = fields.with_consent_date(values, now)
    counted = any(values.get(name) for name in fields.COUNTERS)
    return {
        **DEFAULTS,
        **values,
        **user_keys(values),
        "id": new_id("usr"),
        "admin_id": admin_id,
        "interactions_updated_at": now if counted else None,
        "last_synced_at": now if source == MANYCHAT else None,
        "created_at": now,
        "updated_at": now,
    }
