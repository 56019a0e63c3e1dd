"""Traces by OpenTelemetry, when an endpoint is configured.

The spans themselves are made with OpenTelemetry's API, which does nothing without an SDK: requests by FastAPI, runs in
`runs.service`, calls of MCP servers by the MCP client, which also sends the trace on to the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.context import Context

from gateway import SERVICE, VERSION

END_SECONDS = 2.0

tracer = trace.get_tracer("gateway", VERSION)


def start(replica: str) -> Callable[[], None]:
    """Sends spans by OTLP over HTTP, to where the `OTEL_EXPORTER_OTLP_…` variables say. Returns what ends it."""
    # Here, because they cost memory and time that a gateway without traces need not pay.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class WithoutQueries(SpanProcessor):
        """A query holds what people look for: `/api/runs/similar?text=…`."""

        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            if span.attributes and "url.query" in span.attributes:
                span.set_attribute("url.query", "REDACTED")

    ours = Resource({"service.name": SERVICE, "service.version": VERSION, "service.instance.id": replica})
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(WithoutQueries())
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    def end() -> None:
        # Sends what is left. A receiver that is away would be tried for longer than an engine waits for an end.
        enough = threading.Timer(END_SECONDS, exporter.shutdown)
        enough.start()
        provider.shutdown()
        enough.cancel()

    return end
