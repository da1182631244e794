"""Logs as JSON lines, with the name of the job that each concerns."""

import logging
import sys
from datetime import UTC, datetime

from offsite.text import as_json


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if (job := getattr(record, "job", None)) is not None:
            line["job"] = job
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return as_json(line)


def log_as_json() -> None:
    """Configure all loggers to write JSON to stdout."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("kopf.objects", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # kopf warns that it cannot handle signals; we handle them
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
