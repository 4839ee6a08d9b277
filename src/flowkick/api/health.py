"""Whether the process lives, and whether it is ready for work."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError

from flowkick.core.errors import SettingsError, Unavailable
from flowkick.http.context import Context, InContext
from flowkick.storage.migrate import require_newest

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="getHealth")
async def healthz() -> dict[str, Any]:
    """The process answers."""
    return {"success": True, "status": "ok"}


@router.get("/readyz", operation_id="getReadiness", responses={503: {"description": "Not ready."}})
async def readyz(request: Request, context: InContext) -> Response:
    """The database answers, its migrations are the newest, and the worker, if any, runs."""
    checks = {
        "database": await _database(context),
        "migrations": await _migrations(context),
        "worker": request.app.state.worker_state(),
    }
    ready = not any(state.startswith("failed") for state in checks.values())
    if ready:
        return JSONResponse({"success": True, "status": "ready", "checks": checks})
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
