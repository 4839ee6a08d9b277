"""What a request needs of its process, and of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from flowkick.auth.service import Principal
from flowkick.core.clock import Clock
from flowkick.core.settings import Settings
from flowkick.delivery.client import Sender
from flowkick.delivery.targets import TargetGuard
from flowkick.storage.database import Database
from flowkick.storage.tenancy import TenantSession
from flowkick.storage.waiting import Doorbell


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of the process that requests use; kept at ``app.state.context``."""

    settings: Settings
    database: Database
    clock: Clock
    sender: Sender
    guard: TargetGuard
    doorbell: Doorbell


def get_context(request: Request) -> Context:
    """The parts of the process that this request is served by."""
    context: Context = request.app.state.context
    return context


def _session(request: Request) -> TenantSession:
    session: TenantSession = request.state.session
    return session


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


InContext = Annotated[Context, Depends(get_context)]
"""A parameter of a route: the parts of the process."""

InSession = Annotated[TenantSession, Depends(_session)]
"""A parameter of a route: the session of this request, committed after the route returns."""

Caller = Annotated[Principal, Depends(_principal)]
"""A parameter of a route: who is asking."""
