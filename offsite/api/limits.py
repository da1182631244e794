"""What an organization allows its jobs, whatever their authors ask for."""

from pydantic import ConfigDict, Field

from offsite.api.values import Section


class Limits(Section):
    """Limits that the author of a job cannot change.

    On a cluster they come from the chart's `bounds`, on a laptop from the home. The step that works
    checks them, and the step that holds the keys checks them again.
    """

    model_config = ConfigDict(populate_by_name=True)

    max_kept_blocks: float = Field(0.8, gt=0, le=1)
    """The largest share of a model's middle blocks that an emulator may keep."""
    max_end_blocks: float = Field(0.5, gt=0, le=1)
    """The largest share of a model's blocks that may be ends, which are never compressed."""
