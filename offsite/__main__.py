"""`python -m offsite run --task FILE` runs one step of a stage in a pod; `lend` gets it S3 keys.

`run` starts `step` as a child process, and keeps the log of it in the private store (see
`offsite.logs`). It imports little before that, so that the step begins at once.

Each event is a line on stdout, as `offsite.events` writes it; every other line is a log. The last
event decides: `done`, or `failed`. Exit codes are those of `offsite.errors`.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offsite.errors import OffsiteError
from offsite.events import Done, Event, Failed, Monitor, as_line, failure, mark_of
from offsite.logs.supervisor import end_with_parent, supervise
from offsite.process.lifetime import leave, uncollected
from offsite.process.signals import stopping
from offsite.process.usage import peak_memory
from offsite.text import guard_output

if TYPE_CHECKING:
    from offsite.logs.keeper import Keeper
    from offsite.steps.pod import Pod


def main() -> int:
    """Run the step of a task; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m offsite", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="run|lend", dest="command")
    for name, text in (("run", "run one step of a stage"), ("step", "the same, as a child of run")):
        run = commands.add_parser(name, help=text)
        run.add_argument("--task", type=Path, required=True, help="what the operator wrote down")
        run.add_argument("--ray", action="store_true", help="run the training as a Ray Train job")
    lending = commands.add_parser("lend", help="lend a part of the private store to a step")
    lending.add_argument("--task", type=Path, required=True, help="of the step that trains")
    lending.add_argument("--to", type=Path, required=True, help="a folder that it sees")
    options = parser.parse_args()
    if options.command == "run":
        step = [sys.executable, "-m", "offsite", "step", *sys.argv[2:]]
        return supervise(step, lambda: _keeper(options.task))
    guard_output()
    if options.command == "lend":
        return _lend(options.task, options.to)
    end_with_parent()
    return _step(options)


def _keeper(task: Path) -> "Keeper | None":
    from offsite.steps.logging import keeper_of

    return keeper_of(task, os.environ)


def _step(options: argparse.Namespace) -> int:
    from offsite.steps.pod import Pod
    from offsite.task import read_task

    try:
        with stopping() as stop:
            pod = Pod(read_task(options.task), os.environ)
            ending = _run(pod, Monitor(_tell, stop), on_ray=options.ray)
    except OffsiteError as error:
        _tell(failure(error))
        print(f"offsite: error: {error}", file=sys.stderr)
        return error.exit_code
    except BaseException as error:
        _tell(failure(error))
        raise
    _tell(ending)
    return 0 if isinstance(ending, Done) else 1 if ending.retryable else 2


def _lend(task: Path, folder: Path) -> int:
    from offsite.steps.lending import lend_to
    from offsite.task import read_task

    try:
        lend_to(read_task(task), os.environ, folder)
    except OffsiteError as error:
        print(f"offsite: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _tell(event: Event) -> None:
    print(as_line(event, mark_of(os.environ)), flush=True)


def _run(pod: "Pod[Any]", monitor: Monitor, *, on_ray: bool) -> Done | Failed:
    """Run the step; gives the event that it ended with."""
    from offsite.steps.run import KEYED

    if (keyed := KEYED.get(pod.task.step)) is not None:
        keyed(pod, monitor)
    elif on_ray:
        # the others run where there is neither Ray nor torch
        from offsite.stages.on_ray import run_on_ray

        return run_on_ray(pod, monitor)
    else:
        with uncollected():
            from offsite.stages.pod import run_work

        run_work(pod, monitor)
    return Done(peak_memory_bytes=peak_memory())


if __name__ == "__main__":
    leave(main())
