"""Attempts as spans of the trace that their event was recorded in."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from yarl import URL

from flowkick.core.tracing import TRACEPARENT, TRACER, context_of, traceparent_of
from flowkick.delivery.client import Outcome, Request, Sender


class TracedSender(Sender):
    """Makes a span of each request, and tells the receiver of it in the header ``traceparent``."""

    async def send(self, request: Request) -> Outcome:
        """As `Sender.send`."""
        span = _start(request)
        try:
            if traceparent := traceparent_of(span):
                headers = {**request.headers, TRACEPARENT: traceparent}
                request = request._replace(headers=headers)
            outcome = await super().send(request)
            _end(span, outcome)
        finally:
            span.end()
        return outcome


def _start(request: Request) -> trace.Span:
    url, headers = URL(request.url), request.headers
    event, attempt = headers["X-Webhook-Event"], headers["X-Webhook-Attempt"]
    return TRACER.start_span(
        f"deliver {event}",
        # A request that somebody waits for, such as a test, belongs to the trace of the asking.
        context_of(request.traceparent) if request.traceparent else None,
        kind=SpanKind.CLIENT,
        # Not the path, nor the query: they may hold secrets.
        attributes={
            "http.request.method": "POST",
            "http.request.resend_count": int(attempt) - 1,
            "server.address": url.host or "",
            "server.port": url.port or 0,
            "flowkick.event.type": event,
            "flowkick.event.id": headers["X-Webhook-ID"],
            "flowkick.webhook.id": request.subscription_id,
        },
    )


def _end(span: trace.Span, outcome: Outcome) -> None:
    status = outcome.status_code
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    if not outcome.success:
        answered = outcome.kind.value == "response"
        span.set_attribute("error.type", str(status) if answered else outcome.kind.value)
        span.set_status(StatusCode.ERROR)
