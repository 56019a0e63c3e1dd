"""Traces by OpenTelemetry, when an endpoint is configured.

The spans themselves are made with OpenTelemetry's API, which does nothing without an SDK: requests in `middleware`,
runs in `runs.service`, calls of MCP servers in the MCP client, which also sends the trace on to the server.
"""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry import trace

from gateway import SERVICE, VERSION

FLUSH_MILLISECONDS = 2000

tracer = trace.get_tracer("gateway", VERSION)


def start(replica: str) -> Callable[[], None]:
    """Sends spans by OTLP over HTTP, to where the `OTEL_EXPORTER_OTLP_…` variables say. Returns what ends it."""
    # Here, because they cost memory and time that a gateway without traces need not pay.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = Resource({"service.name": SERVICE, "service.version": VERSION, "service.instance.id": replica})
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)

    def end() -> None:
        provider.force_flush(FLUSH_MILLISECONDS)
        provider.shutdown()

    return end
