"""The flags of `offsite frontier`: the limits that a suggested setting keeps."""

from dataclasses import dataclass
from typing import Annotated

import typer

from offsite.frontier import Wanted


@dataclass(frozen=True)
class LimitOptions:
    """The limits of an owner, as shares of the full model's."""

    min_gain: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=2,
            help="Suggest a setting with at least this share of full fine-tuning's gain.",
        ),
    ] = None
    max_recovered: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=2,
            help="… from which attacks recover at most this share of the model's skill.",
        ),
    ] = None
    max_tuned: Annotated[
        float | None,
        typer.Option(
            min=0, help="… whose tuned emulator has at most this share of the model's skill."
        ),
    ] = None
    max_size: Annotated[
        float | None,
        typer.Option(min=0, max=2, help="… with at most this share of the model's size."),
    ] = None
    max_flops: Annotated[
        float | None,
        typer.Option(min=0, max=2, help="… with at most this share of the model's FLOPs."),
    ] = None

    def wanted(self) -> Wanted:
        """Return the limits."""
        return Wanted(
            min_gain=self.min_gain,
            max_recovered=self.max_recovered,
            max_tuned=self.max_tuned,
            max_size=self.max_size,
            max_flops=self.max_flops,
        )
