"""The stages of an exchange, each from its job to what it publishes.

One module a stage; the only place where the parts are put together. What a stage needs of its
surroundings is a `Party`; what it tells goes to a `Monitor`.
"""

from offsite.stages.run import run_job
from offsite.stages.workspace import Party

__all__ = ["Party", "run_job"]
