"""Events of a running stage: one flat JSON object each.

    {"event": "started", "fingerprint": "…", "inputs": {"model": "sha256:…", …}}
    {"event": "progress", "phase": "tune", "step": 10, "totalSteps": 60, "percent": 16.7, …}
    {"event": "metric", "name": "perplexity", "setting": "emulator_tuned", "value": 9.7, …}
    {"event": "rates", "setting": "membership", "points": [[0.0, 0.0], …, [1.0, 1.0]]}
    {"event": "privacy", "epsilon": 7.98, "delta": 8e-05, "unit": "row", "samplingRate": 0.0065, …}
    {"event": "log", "message": "…"}
    {"event": "notice", "stage": "Distill", "reason": "DataError", "message": "…"}
    {"event": "egress", "report": {"digest": "sha256:…", "kind": "adapter", "files": […], …}}
    {"event": "artifact", "name": "support-adapter", "digest": "sha256:…", "uri": …, "sizeBytes": …}
    {"event": "record", "run": {"id": "…", "job": "support-adapter", "outcome": "Complete", …}}
    {"event": "estimate", "memoryBytes": …, "message": "the job needs about 3.2 GiB of memory …"}
    {"event": "failed", "reason": "BundleError", "retryable": false, "message": "…"}
    {"event": "done", "peakMemoryBytes": …}

The last event decides: `done`, or `failed`. The operator, `offsite logs` and the progress bar read
events and nothing else; the core never writes to the terminal itself.
"""

from offsite.events.lines import (
    EVENT_MARK,
    MARK,
    as_line,
    mark_of,
    marked_text,
    new_mark,
    parse_line,
)
from offsite.events.monitor import Emit, Monitor, Tracker, failure
from offsite.events.types import (
    Artifact,
    Check,
    Done,
    Egress,
    Estimate,
    Event,
    Failed,
    Log,
    Metric,
    NoticeRead,
    PrivacyReport,
    Progress,
    Rates,
    Record,
    Started,
    parse_event,
)

__all__ = [
    "EVENT_MARK",
    "MARK",
    "Artifact",
    "Check",
    "Done",
    "Egress",
    "Emit",
    "Estimate",
    "Event",
    "Failed",
    "Log",
    "Metric",
    "Monitor",
    "NoticeRead",
    "PrivacyReport",
    "Progress",
    "Rates",
    "Record",
    "Started",
    "Tracker",
    "as_line",
    "failure",
    "mark_of",
    "marked_text",
    "new_mark",
    "parse_event",
    "parse_line",
]
