"""Sleeps within OpenTelemetry's spans of three kinds, a thread each; prints their ids."""

import json
import threading
import time

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("tests")
told = {}
ready = threading.Barrier(4)


def tell(name):
    context = trace.get_current_span().get_span_context()
    told[name] = [format(context.trace_id, "032x"), format(context.span_id, "016x")]
    ready.wait()
    time.sleep(1000)


def recording():
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
        tell("recording")


def remote():
    context = trace.SpanContext(2**127 + 17, 2**63 + 5, True)
    with trace.use_span(trace.NonRecordingSpan(context)):
        tell("remote")


def none():
    ready.wait()
    time.sleep(1000)


for function in (recording, remote, none):
    threading.Thread(target=function, name=function.__name__, daemon=True).start()
ready.wait()
print(json.dumps(told), flush=True)
time.sleep(1000)
