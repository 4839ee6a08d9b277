"""The HTTP application: its routes, its failures, its OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig

from flowkick import __version__
from flowkick.api import health, metrics
from flowkick.api.errors import install_error_handlers
from flowkick.api.openapi import describe
from flowkick.api.requests import RequestMiddleware
from flowkick.http.context import Context

_WATCHED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
# Prometheus has the metrics, and logs are Flowkick's own: those of the framework show bodies.
_TELEMETRY: Final[TelemetryConfig] = {
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
    "exclude": lambda scope: scope["path"] in _WATCHED,
}
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_application(
    context: Context,
    routers: Sequence[APIRouter],
    *,
    lifespan: Lifespan,
    worker_state: Callable[[], str],
) -> FastAPI:
    """The application that serves `routers`; `lifespan` starts and stops what they need.

    `worker_state` tells readiness of the delivery engine: ``ok``, ``not here``, or ``failed: …``.
    """
    app = FastAPI(
        title="Flowkick",
        version=__version__,
        summary="Contacts from chat, and a signed webhook for every change of them.",
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_TELEMETRY,
    )
    app.state.context = context
    app.state.worker_state = worker_state
    for router in (health.router, metrics.router, *routers):
        app.include_router(router)
    install_error_handlers(app)
    app.add_middleware(RequestMiddleware)
    describe(app, routers)
    return app
