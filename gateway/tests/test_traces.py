"""Traces as an OTLP receiver gets them, and what a gateway without them does not load."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from gateway.tests.conftest import ROOT, agents_in, counting_mcp, free_port, gateway, plan_of, run, service
from gateway.tests.otlp import otlp_handler


@contextmanager
def otlp_receiver(received: list[ResourceSpans]) -> Iterator[str]:
    """Takes what is posted to `/v1/traces` as protobuf."""
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), otlp_handler(received))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_run_is_one_trace_from_the_callers_span_to_the_mcp_servers_tool(tmp_path: Path) -> None:
    received: list[ResourceSpans] = []
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(tmp_path))
        endpoint = stack.enter_context(otlp_receiver(received))
        plan = plan_of({"zen-mcp": service("mcp", url)}, agents_in(tmp_path))
        running = stack.enter_context(gateway(tmp_path, plan, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint))
        assert run(running, "opus", "a-secret-input", traceparent=caller).status_code == 200
        running.api.get("/health")
        running.api.get("/api/runs/similar", params={"text": "a-secret-input"})
        # What was not sent yet goes out at the end.
        assert running.process.stop() == 0
    spans = {span.name: span for one in received for scope in one.scope_spans for span in scope.spans}
    request, made = spans["POST /api/agents/{agent}/runs"], spans["run opus"]
    called = next(span for name, span in spans.items() if "tools/call" in name)
    assert {span.trace_id.hex() for span in (request, made, called)} == {"0af7651916cd43dd8448eb211c80319c"}
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert made.parent_span_id == request.span_id
    assert not any("/health" in name for name in spans)
    outcome = {pair.key: pair.value.string_value for pair in made.attributes}
    assert outcome["promptcraft.outcome"] == "succeeded"
    labels = {pair.key: pair.value.string_value for pair in received[0].resource.attributes}
    assert labels["service.name"] == "promptcraft"
    assert "a-secret-input" not in str(received)


def test_a_receiver_that_is_away_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import time
from gateway import tracing
end = tracing.start("r")
tracing.tracer.start_span("x").end()
started = time.monotonic()
end()
print(time.monotonic() - started)
"""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    # The exporter by itself tries for about 7 s, and Docker kills after 10.
    assert float(done.stdout) < 5


def test_without_an_endpoint_neither_sdk_nor_exporter_is_loaded() -> None:
    # Redis's client loads the SDK's metrics wherever they are installed.
    names = "('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'google.protobuf')"
    code = f"import sys, gateway.__main__; print([name for name in sys.modules if name.startswith({names})])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
