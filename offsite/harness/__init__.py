"""Tasks of lm-evaluation-harness, read without running code from the folder that has them.

The author of a job is not trusted with the process that evaluates: it has the party's data. So the
YAML of a task is data of a few known fields (`taskfile`), its templates run in a sandbox
(`rendering`), and data comes from files below the folder alone (`documents`). The tasks of the
paper are those of the installed lm-eval, on data sets of a mirror (`published`).
Nothing here imports lm-eval: `offsite.modality.text.tasks` makes benchmarks of what is read.
"""

from offsite.harness.source import Source, TaskFolder
from offsite.harness.taskfile import METRICS, Output

__all__ = ["METRICS", "Output", "Source", "TaskFolder"]
