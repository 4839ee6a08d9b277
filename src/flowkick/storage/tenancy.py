"""The one mechanism that scopes every query to its admin.

A `TenantSession` belongs to one admin. Each statement on mapped classes gets ``adminId = …`` added
for every `AdminScoped` class in it, joins, sub-queries and loads of relationships included; new
rows get the admin's id, and rows of another admin cannot be written. A statement that the
mechanism can't see into is refused unless it says ``execution_options(scoped_by_hand=True)``,
which is easy to search for.

The delivery engine, authentication and maintenance serve all admins: their sessions are made with
`SYSTEM`, by methods of the database that carry "system" in their names.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, with_loader_criteria

from flowkick.storage.base import AdminScoped

SYSTEM: Final = None
_ADMIN: Final = "admin_id"
QUEUED: Final = "deliveries_queued"
"""Set in ``session.info`` by a transaction that queued deliveries: its commit wakes the engine."""

_READS_ONLY: Final = "reads_only"
KEY_RING: Final = "key_ring"
"""In ``session.info`` of sessions that write: gives the process's ring of master keys."""

RECORDED: Final = "events_recorded"
"""Set in ``session.info``: how many events of each name the transaction recorded."""


_ONLY_READS: Final = "This session only reads: write in a transaction."


class ScopeError(RuntimeError):
    """A statement or a row would have left its admin's scope: a defect of the calling code."""


class ScopedSession(Session):
    """The synchronous half of a `TenantSession`; the events below hang on it."""


class TenantSession(AsyncSession):
    """A session that sees and writes the rows of one admin only."""

    sync_session_class = ScopedSession

    def __init__(
        self,
        bind: AsyncEngine | AsyncConnection,
        admin_id: str | None,
        *,
        join: bool = False,
        reads_only: bool = False,
    ) -> None:
        """With `join`, `bind` is a connection whose transaction is somebody else's to end.

        With `reads_only`, it refuses to write: on PostgreSQL there is no transaction to undo.
        """
        mode = "control_fully" if not join else "rollback_only"
        super().__init__(bind, expire_on_commit=False, autoflush=False, join_transaction_mode=mode)
        self.info[_ADMIN] = admin_id
        self.info[_READS_ONLY] = reads_only

    @property
    def admin_id(self) -> str:
        """The admin this session belongs to; ScopeError in a system session."""
        admin_id: str | None = self.info[_ADMIN]
        if admin_id is None:
            raise ScopeError("A system session belongs to no admin.")
        return admin_id


@event.listens_for(ScopedSession, "do_orm_execute")
def _scope_statement(state: ORMExecuteState) -> None:
    if state.session.info[_READS_ONLY] and (state.is_insert or state.is_update or state.is_delete):
        raise ScopeError(_ONLY_READS)
    admin_id = state.session.info[_ADMIN]
    if admin_id is SYSTEM or state.execution_options.get("scoped_by_hand"):
        return
    if not state.is_orm_statement:
        raise ScopeError(
            "This statement is not on mapped classes, so it can't be scoped to its admin: write it"
            " on them, or scope it by hand and say so with scoped_by_hand=True."
        )
    if state.is_insert:
        _check_inserted(state.parameters, admin_id)
        return
    state.statement = state.statement.options(
        with_loader_criteria(
            AdminScoped, lambda cls: cls.admin_id == admin_id, include_aliases=True
        )
    )


def _check_inserted(parameters: Any, admin_id: str) -> None:
    rows = parameters if isinstance(parameters, list) else [parameters or {}]
    if any(row.get("admin_id") != admin_id for row in rows):
        raise ScopeError("A bulk insert needs the admin_id of its session in every row.")


@event.listens_for(ScopedSession, "before_flush")
def _scope_rows(session: Session, _context: UOWTransaction, _instances: Any) -> None:
    if session.info[_READS_ONLY]:
        raise ScopeError(_ONLY_READS)
    admin_id = session.info[_ADMIN]
    if admin_id is SYSTEM:
        return
    for row in (*session.new, *session.dirty, *session.deleted):
        if not isinstance(row, AdminScoped):
            continue
        owner: str | None = row.admin_id
        if owner is None:
            row.admin_id = admin_id
        elif owner != admin_id:
            raise ScopeError(f"A {type(row).__name__} of another admin can't be written.")
