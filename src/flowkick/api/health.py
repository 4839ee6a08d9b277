"""Whether the process lives, and whether it is ready for work."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from sqlalchemy.exc import SQLAlchemyError

from flowkick.core.errors import SettingsError, Unavailable
from flowkick.core.schemas import ApiModel, Success
from flowkick.http.context import Context, InContext
from flowkick.storage.migrate import require_newest

router = APIRouter(tags=["health"])


_NOT_READY: Final[dict[str, Any]] = {
    "description": "Not ready; `details` tell of each check.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


class HealthAnswer(Success):
    """The process answers."""

    status: str = "ok"


class Checks(ApiModel):
    """What readiness takes: each is `ok`, or says how it is instead."""

    database: str
    migrations: str
    worker: str


class ReadinessAnswer(Success):
    """The process is ready for work."""

    status: str = "ready"
    checks: Checks


@router.get("/healthz", operation_id="getHealth")
async def healthz() -> HealthAnswer:
    """The process answers."""
    return HealthAnswer()


@router.get("/readyz", operation_id="getReadiness", responses={503: _NOT_READY})
async def readyz(request: Request, context: InContext) -> ReadinessAnswer:
    """The database answers, its migrations are the newest, and the worker, if any, runs."""
    checks = {
        "database": await _database(context),
        "migrations": await _migrations(context),
        "worker": request.app.state.worker_state(),
    }
    if not any(state.startswith("failed") for state in checks.values()):
        return ReadinessAnswer(checks=Checks(**checks))
    details = [{"check": name, "state": state} for name, state in checks.items()]
    raise Unavailable("This process is not ready for work.", details=details)


async def _database(context: Context) -> str:
    try:
        await context.database.check()
    except (SQLAlchemyError, OSError):
        return "failed: the database does not answer"
    return "ok"


async def _migrations(context: Context) -> str:
    try:
        await require_newest(context.database)
    except SettingsError as error:
        return f"failed: {error.sentence}"
    except (SQLAlchemyError, OSError):
        return "failed: the database does not answer"
    return "ok"
