"""`offsite report`: write what an exchange gained and gave away as one HTML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from offsite.errors import InputError
from offsite.runs import Run, Runs
from offsite.store import write_whole
from offsite_cli.cluster.connection import Target, connect
from offsite_cli.cluster.records import fetch_run, stored_run
from offsite_cli.disclosed import ledger_facts
from offsite_cli.options import HOME, Home, grouped, private_option
from offsite_cli.output import show_info, show_text
from offsite_cli.report.evidence import Extras, View
from offsite_cli.report.reading import read_attack, read_evaluation, read_frontier


@grouped
def report(  # noqa: V103 - the app finds it by name
    target: Target,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN…]",
            help="Runs of one exchange, at most one of each stage: ids, names of jobs, or paths of "
            "records. Defaults to the newest run, and the newest earlier ones with the same peer.",
        ),
    ] = None,
    home: Home = HOME,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
    view: Annotated[
        View | None,
        typer.Option(
            help="Whom the report is for. Defaults to the party that ran the runs; joint holds "
            "what both know, so show it to both only."
        ),
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="JSON of `offsite evaluate`: the five settings.")
    ] = None,
    recovery: Annotated[Path | None, typer.Option(help="JSON of `offsite attack recover`.")] = None,
    frontier: Annotated[Path | None, typer.Option(help="JSON of `offsite frontier`.")] = None,
    hour_price: Annotated[
        float | None,
        typer.Option(min=0, help="Price of an hour of the machine; the report adds up the cost."),
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency of --hour-price.")] = "",
    private: Annotated[
        str | None,
        private_option("Report on the jobs whose records are kept there, without the cluster."),
    ] = None,
) -> None:
    """Write a report of an exchange: what each party gained and gave away.

    The report is one HTML file that loads nothing. It holds only what its reader may know. With
    --namespace, --context or --kubeconfig, it is about jobs on a cluster, by their names.
    """
    place, here = home.expanduser().resolve(), private is None and target == Target()
    if private is not None:
        found = [stored_run(private, name) for name in _named(runs)]
    elif not here:
        api = connect(target)
        found = [fetch_run(api, name) for name in _named(runs)]
    else:
        found = _runs(Runs(place), runs or [], view)
    owns_model = all(run.stage != "Tune" for run in found)
    extras = Extras(
        comparison=None if evaluation is None else read_evaluation(evaluation),
        attack=None if recovery is None else read_attack(recovery),
        frontier=None if frontier is None else read_frontier(frontier),
        disclosed=_disclosed(place, private, here) if owns_model else (),
        price=hour_price,
        currency=currency,
    )
    write_report(out, found, view, extras)


def write_report(out: Path, runs: Sequence[Run], view: View | None, extras: Extras) -> None:
    """Write a report to a file, and say so.

    Raises:
        InputError: There is no run, or the reader could not know one of them.
    """
    # matplotlib takes a second to import, so it happens only after what can be checked before
    from offsite_cli.report.page import render

    content = render(runs, view, extras)
    write_whole(out.expanduser(), content.encode())
    show_text(str(out))


def _disclosed(home: Path, private: str | None, here: bool) -> Sequence[Mapping[str, object]]:
    """Read the disclosure ledger beside the runs; that of a cluster only from its private store."""
    if private is None and not (here and home.is_dir()):
        return ()
    return ledger_facts(home, private)


def _named(runs: Sequence[str] | None) -> Sequence[str]:
    """Return the names of jobs on a cluster.

    Raises:
        InputError: There are none.
    """
    if not runs:
        raise InputError("name the jobs to report on; `offsite list` shows those of a namespace")
    return runs


def _runs(kept: Runs, names: Sequence[str], view: View | None) -> list[Run]:
    """Find the runs that were named, or those of the newest exchange."""
    if names:
        return [kept.find(name, show_info) for name in names]
    runs = kept.all(show_info)
    if not runs:
        raise InputError(
            f"no runs are recorded in {kept.folder}; run a job first, or set --home to another one"
        )
    newest = runs[-1]
    same = [run for run in runs if run.peer == newest.peer and _alike(run, newest, view)]
    return list({run.stage: run for run in same}.values())


def _alike(run: Run, newest: Run, view: View | None) -> bool:
    """Whether the same role of the party ran both: as the owner of the model, or of the data."""
    return view is View.JOINT or (run.stage == "Tune") == (newest.stage == "Tune")
