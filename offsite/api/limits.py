"""The limits of an organization, which authors of jobs cannot change."""

from pydantic import Field

from offsite.api.stages import Tune
from offsite.api.values import Section


class Limits(Section):
    """Limits that the author of a job cannot change.

    On a cluster they come from the chart's `bounds`, on a laptop from the home. The step that works
    checks them, and the step that holds the keys checks them again: all but `max_change` of a model
    at a hub, which that step cannot ask.
    """

    max_kept_blocks: float = Field(0.8, gt=0, le=1)
    """The largest share of a model's middle blocks that all its emulators together may keep."""
    max_end_blocks: float = Field(0.5, gt=0, le=1)
    """The largest share of a model's blocks that may be ends of any of them, sent as they are."""
    min_examples: int = Field(16, ge=1)
    """How many different examples an adapter has to be tuned on at least."""
    min_steps: int = Field(8, ge=1)
    """How many steps an adapter has to be tuned for at least."""
    min_batch_size: int = Field(4, ge=1)
    """How many examples each of those steps has to have at least."""

    max_change: float = Field(1.0, gt=0)
    """How large a returned adapter's change of a weight may be, relative to that weight."""

    def objection(self, job: Tune) -> str | None:
        """Say which floor an adapter's job asks to go below, before its data is read."""
        asked = (
            ("batchSize", job.training.batch_size, "minBatchSize", self.min_batch_size),
            ("steps", job.training.steps, "minSteps", self.min_steps),
        )
        for field, value, floor, least in asked:
            if value is not None and value < least:
                return (
                    f"tune.training.{field} is {value}, and this organization allows no adapter "
                    f"below {least} ({floor}): ask for more"
                )
        return None
