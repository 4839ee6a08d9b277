"""The SDK of OpenTelemetry: needs the extra `tracing`."""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from flowkick import __version__

_QUERY: Final = "url.query"
_HIDDEN: Final = "REDACTED"


def make_provider() -> TracerProvider:
    """Keeps spans in memory, sends them in batches from a thread, and the last ones at the end.

    Where to, how often and how many, the standard variables say (``OTEL_…``).
    """
    provider = TracerProvider(resource=_resource())
    provider.add_span_processor(_WithoutPeople())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _resource() -> Resource:
    found = Resource.create({SERVICE_VERSION: __version__})
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "flowkick"}))
    return found


class _WithoutPeople(SpanProcessor):
    """Hides the queries of requests: people are searched for by name and address."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Overwrite it before anything is sent."""
        del parent_context
        if _QUERY in (span.attributes or {}):
            span.set_attribute(_QUERY, _HIDDEN)
