"""Traces by OpenTelemetry, from a change to the attempts that tell of it; off unless configured.

The API of OpenTelemetry is always there and does nothing. `configure` puts the SDK behind it where
the environment names a collector, for the whole process, as libraries of OpenTelemetry do. Code of
others that does so itself, and emits events into its own transactions, is traced the same way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import ProxyTracerProvider, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flowkick import __version__
from flowkick.core.errors import SettingsError

TRACEPARENT: Final = "traceparent"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP: Final = "http/protobuf"
_W3C: Final = TraceContextTextMapPropagator()
TRACER: Final = trace.get_tracer("flowkick", __version__)


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables of OpenTelemetry name a collector for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip() not in {"", "otlp"}:
        return False
    return any(environment.get(name, "").strip() for name in _ENDPOINTS)


def configure(environment: Mapping[str, str] = os.environ) -> None:
    """Send the traces of this process to the collector that its environment names, if it does.

    SettingsError where they can't be: the extra is not installed, or the protocol is not HTTP.
    """
    if not is_wanted(environment):
        return
    protocols = (environment.get(name, "").strip() for name in _PROTOCOLS)
    protocol = next(filter(None, protocols), _HTTP)
    if protocol != _HTTP:
        raise SettingsError(
            f"Traces are sent by {_HTTP}, not by {protocol}: set {_PROTOCOLS[0]} to {_HTTP}, and"
            f" {_ENDPOINTS[0]} to the collector's address for it."
        )
    try:
        from flowkick.core.spans import make_provider  # noqa: PLC0415  # the SDK is an extra
    except ModuleNotFoundError as error:
        raise SettingsError(
            "Traces need `pip install 'flowkick[tracing]'`: install it, or unset"
            f" {' and '.join(_ENDPOINTS)}."
        ) from error
    trace.set_tracer_provider(make_provider())


def is_on() -> bool:
    """Whether anybody collects the traces of this process."""
    return not isinstance(trace.get_tracer_provider(), ProxyTracerProvider)


def mark_recorded(event: str, event_id: str) -> str | None:
    """Note in the current trace that an event is recorded; the ``traceparent`` of what follows."""
    attributes = {"flowkick.event.type": event, "flowkick.event.id": event_id}
    span = TRACER.start_span(f"record {event}", kind=SpanKind.PRODUCER, attributes=attributes)
    span.end()
    return traceparent_of(span)


def traceparent_of(span: trace.Span) -> str | None:
    """How W3C Trace Context names a span in a header; None where it belongs to no trace."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(TRACEPARENT)


def context_of(traceparent: str) -> Context:
    """What spans that follow from that one begin in."""
    return _W3C.extract({TRACEPARENT: traceparent}, Context())


def note(name: str, value: str) -> None:
    """Add to the current span, where there is one."""
    trace.get_current_span().set_attribute(name, value)
