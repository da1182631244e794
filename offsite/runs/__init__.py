"""Records of runs: what a party ran, what it measured, and what it sent.

A `Recorder` folds the events of a stage into a `Run`. On a laptop, records are files of the home
(`Runs`); on a cluster, the step that publishes keeps one beside the result. A record belongs to the
party that ran the job: it holds figures of private data, and is never sent.
"""

from offsite.runs.begin import begin
from offsite.runs.folder import Runs, new_id, read_run
from offsite.runs.keeping import recorded
from offsite.runs.merge import merged
from offsite.runs.record import Outcome, Point, Run, Stage
from offsite.runs.recorder import Recorder

__all__ = [
    "Outcome",
    "Point",
    "Recorder",
    "Run",
    "Runs",
    "Stage",
    "begin",
    "merged",
    "new_id",
    "read_run",
    "recorded",
]
