"""The command `offsite evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offsite.errors import InputError
from offsite.events import Monitor
from offsite.process.lifetime import uncollected
from offsite.steps.places import from_hub
from offsite_cli.options import Format, grouped
from offsite_cli.output import Output, screen, show_json
from offsite_cli.rehearsal.data import StandInOptions
from offsite_cli.rehearsal.progress import rehearsing
from offsite_cli.rehearsal.setting import SeedOptions, SettingOptions

if TYPE_CHECKING:
    from offsite.rehearsal import Setting, Splits, Summary

_HUB = "hf://"


@grouped
def evaluate(
    stand_in: StandInOptions,
    options: SettingOptions,
    seeds: SeedOptions,
    model: Annotated[
        str, typer.Option(help="The full model: a folder, or hf://org/name@revision.")
    ],
    upper_bound: Annotated[
        bool, typer.Option(help="Also fine-tune the full model, which takes most of the memory.")
    ] = True,
    folder: Annotated[
        Path, typer.Option(help="Folder that keeps results, so that no run is done twice.")
    ] = Path("rehearsals"),
    output: Format = Output.TEXT,
) -> None:
    """Rehearse all three stages here, on stand-in data, and show what the adapter gains.

    Nothing is sent, and no keys are used. An interrupted command goes on when you run it again.
    """
    setting, kept = options.setting(), folder.expanduser().resolve()
    with rehearsing() as monitor:
        data = stand_in.splits(kept / "data")
        found = _repeat(
            model_folder(model), setting, data, seeds.chosen, monitor, kept, upper_bound
        )
    if output is Output.JSON:
        show_json(found.wire())
        return
    from offsite_cli.rehearsal.table import show  # rich is slow to import

    show(found, screen())


def _repeat(
    model: Path,
    setting: "Setting",
    data: "Splits",
    seeds: range,
    monitor: Monitor,
    folder: Path,
    upper_bound: bool,
) -> "Summary":
    with uncollected():  # torch takes seconds to import
        from offsite.rehearsal.rehearse import delete_emulators, repeat

    found = repeat(model, setting, data, seeds, monitor, folder=folder, upper_bound=upper_bound)
    delete_emulators(folder)
    return found.summary()


def model_folder(model: str) -> Path:
    """Return the folder of the full model that a flag names.

    Raises:
        InputError: there is none.
    """
    if model.startswith(_HUB):
        return from_hub(model.removeprefix(_HUB))
    path = Path(model).expanduser().resolve()
    if not path.is_dir():
        raise InputError(f"there is no folder {path}; --model names the full model's")
    return path
