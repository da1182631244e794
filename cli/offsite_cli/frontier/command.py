"""The command `offsite frontier`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from offsite.config import load_policy
from offsite.errors import InputError
from offsite.events import Monitor
from offsite.frontier import Candidate, Frontier, Plan, Wanted, read_sweep
from offsite.process.lifetime import uncollected
from offsite.steps.party import POLICY
from offsite.store import disk_errors, write_whole
from offsite.text import as_json
from offsite_cli.frontier.options import LimitOptions
from offsite_cli.options import HOME, Format, Home, grouped
from offsite_cli.output import Output, screen, show_json, show_text, show_yaml
from offsite_cli.rehearsal.command import model_folder
from offsite_cli.rehearsal.data import StandInOptions
from offsite_cli.rehearsal.progress import rehearsing
from offsite_cli.rehearsal.setting import (
    EmulatorOptions,
    SeedOptions,
    SettingOptions,
    TransferOptions,
)


@grouped
def frontier(
    sweep: Annotated[
        Path, typer.Argument(help="YAML file of emulator settings, where a list is a choice.")
    ],
    limits: LimitOptions,
    stand_in: StandInOptions,
    transfer: TransferOptions,
    seeds: SeedOptions,
    model: Annotated[
        str, typer.Option(help="The full model: a folder, or hf://org/name@revision.")
    ],
    recovery_steps: Annotated[
        int, typer.Option(min=1, help="Training steps of each attack on an emulator.")
    ] = 200,
    folder: Annotated[
        Path, typer.Option(help="Folder for the results, so that no run is done twice.")
    ] = Path("frontier"),
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """Compare emulators of a model here: what each gains, gives away, and costs.

    Nothing is sent, and no keys are used: of --home, policy.yaml alone is read. An interrupted
    command goes on when you run it again.
    """
    if stand_in.corpus is None:
        raise InputError("missing --corpus: emulators are healed, distilled and attacked with it")
    candidates = read_sweep(sweep, stand_in.corpus)
    setting = SettingOptions(EmulatorOptions(blocks=1), transfer).setting()
    policy, kept = load_policy(home.expanduser() / POLICY), folder.expanduser().resolve()
    with rehearsing() as monitor:
        plan = Plan(
            model=model_folder(model),
            data=stand_in.splits(kept / "data"),
            setting=setting,
            folder=kept,
            limits=policy,
            seeds=seeds.chosen,
            recovery_steps=recovery_steps,
        )
        found = _measure(candidates, plan, limits.wanted(), monitor)
        _write(found, kept)
    if output is Output.JSON:
        show_json(found.wire())
        return
    _show(found, kept)


def _measure(
    candidates: Sequence[Candidate], plan: Plan, wanted: Wanted, monitor: Monitor
) -> Frontier:
    with uncollected():  # torch takes seconds to import
        from offsite.frontier.measure import measure_sweep

    return measure_sweep(candidates, plan, wanted, monitor)


def _write(found: Frontier, folder: Path) -> None:
    """Write the figures and the plot, for their owner alone."""
    from offsite_cli.frontier.plot import draw  # matplotlib is slow to import

    with disk_errors(folder):
        write_whole(folder / "frontier.svg", draw(found))
        write_whole(folder / "frontier.json", as_json(found.wire(), indent=2).encode())


def _show(found: Frontier, folder: Path) -> None:
    from offsite_cli.frontier.table import show_frontier  # rich is slow to import

    show_frontier(found, screen())
    if found.suggested is None:
        show_text(*filter(None, [found.reason]))
    else:
        show_text(f"suggested: setting {found.suggested}, {found.reason}. In a Distill job:")
        setting = found.point(found.suggested).setting
        show_yaml({"distill": setting.model_dump(mode="json", by_alias=True, exclude_unset=True)})
    show_text(f"plot: {folder / 'frontier.svg'}", f"figures: {folder / 'frontier.json'}")
