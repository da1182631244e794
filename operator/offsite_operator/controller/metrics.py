"""Prometheus metrics."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The operator's metrics, and the clock behind its health check."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "offsite_operator_reconciles",
            "Reconciles that made a decision.",
            registry=self.registry,
        )
        self.errors = Counter(
            "offsite_operator_errors",
            "Reconciles that failed.",
            registry=self.registry,
        )
        self.seconds = Histogram(
            "offsite_operator_reconcile_seconds",
            "Duration of a reconcile, from reading a job until its decision is applied.",
            registry=self.registry,
        )
        self.jobs = Gauge(
            "offsite_operator_jobs", "OffsiteJobs by state.", ["state"], registry=self.registry
        )
        age = Gauge(
            "offsite_operator_resync_age_seconds",
            "Time since the last resync.",
            registry=self.registry,
        )
        age.set_function(self.resync_age)
        self._resynced = time.monotonic()
        self.has_resynced = False
        """Whether a resync has completed."""

    def resynced(self) -> None:
        """Record a completed resync."""
        self._resynced = time.monotonic()
        self.has_resynced = True

    def resync_age(self) -> float:
        """Return the seconds since the last resync, or since the start."""
        return time.monotonic() - self._resynced
