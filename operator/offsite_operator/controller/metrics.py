"""Metrics for Prometheus."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The operator's figures, and the clock by which its health is judged."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "offsite_operator_reconciles", "Decisions that were made.", registry=self.registry
        )
        self.errors = Counter(
            "offsite_operator_errors",
            "Decisions that could not be made or carried out.",
            registry=self.registry,
        )
        self.seconds = Histogram(
            "offsite_operator_reconcile_seconds",
            "Time from looking at a job until what was decided is done.",
            registry=self.registry,
        )
        self.jobs = Gauge(
            "offsite_operator_jobs", "OffsiteJobs by state.", ["state"], registry=self.registry
        )
        age = Gauge(
            "offsite_operator_resync_age_seconds",
            "Time since everything was listed last.",
            registry=self.registry,
        )
        age.set_function(self.resync_age)
        self._resynced = time.monotonic()
        self.has_resynced = False
        """Whether everything was ever listed."""

    def resynced(self) -> None:
        """Note that everything was listed."""
        self._resynced = time.monotonic()
        self.has_resynced = True

    def resync_age(self) -> float:
        """Give the seconds since then, or since the start."""
        return time.monotonic() - self._resynced
