"""The OpenTelemetry trace that a request belongs to, asked for when somebody wants to see it."""

import sys
from contextvars import Context
from typing import Any


def trace_of(context: Context | None) -> str | None:
    """Return the id of the trace that was current in *context*, in hexadecimal; None without one."""
    # Nobody has a trace where OpenTelemetry has not been imported.
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or context is None:
        return None
    # A copy: the tasks of the run may be in the context itself, in a thread.
    span = context.copy().run(trace.get_current_span).get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else None
