"""`make chaos`: strikes jobs in every step, and looks whether each ends right and leaves nothing.

`ARGS="--only REGEX"` chooses among the rows of its table, `ARGS=--list` names them. It needs pods
whose processes are on this machine, as of `make cluster`; the exit code is 1 if a row is not right.
"""

import argparse
import re
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from chaos.aftermath import ended
from chaos.blows import Blow, blows
from chaos.crowd import CROWD, crowd
from chaos.struck import exchange_both
from cluster.access import reached_cluster
from cluster.processes import end_in_order
from cluster.scene import Scene, set_up

_TRIES = 3
"""Until a short step is struck before it has ended."""
_ROW = "{:<58} {:<10} {:>8} {:>7}  {}"


@dataclass(frozen=True)
class Row:
    """What became of a job."""

    title: str
    ended: str
    attempts: int | None
    seconds: float
    wrong: str = ""
    """What is not right."""

    def __str__(self) -> str:
        attempts = "" if self.attempts is None else self.attempts
        return _ROW.format(
            self.title, self.ended, attempts, f"{self.seconds:.0f} s", self.wrong or "ok"
        )


def main() -> int:
    """Strike; give the exit code."""
    options = _options()
    chosen = [each for each in blows() if re.search(options.only, each.title)]
    with_crowd = re.search(options.only, CROWD) is not None
    if not (chosen or with_crowd):
        sys.exit(f"chaos: no row matches {options.only!r}; ARGS=--list names them")
    if options.list:
        print(*(each.title for each in chosen), *([CROWD] if with_crowd else []), sep="\n")
        return 0
    rows = list[Row]()
    end_in_order()

    def tell(row: Row) -> None:
        print(row, flush=True)
        rows.append(row)

    name = f"chaos-{secrets.token_hex(3)}"
    with reached_cluster(name) as cluster, set_up(cluster, in_s3=True) as scene:
        exchange_both(scene)
        print(_ROW.format("what was done", "ended", "attempts", "after", "right?"), flush=True)
        for number, blow in enumerate(chosen):
            tell(timed(blow.title, lambda b=blow, n=number: struck(scene, b, f"struck-{n}")))  # type: ignore[misc]
        if with_crowd:
            tell(timed(CROWD, lambda: crowd(scene, options.crowd)))
    return int(any(row.wrong for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="a regular expression")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--crowd", type=int, default=50, help="how many jobs at once")
    return parser.parse_args()


def timed(title: str, strike: Callable[[], tuple[str, int | None]]) -> Row:
    """Do something to jobs; say how it ended, and what was wrong then."""
    began = time.monotonic()
    try:
        ended, attempts = strike()
    except Exception as error:  # the other rows are told all the same
        return Row(title, "?", None, time.monotonic() - began, " ".join(str(error).split())[:600])
    return Row(title, ended, attempts, time.monotonic() - began)


def struck(scene: Scene, blow: Blow, name: str) -> tuple[str, int | None]:
    """Strike a job, and look how it ends; one that was too quick counts for nothing.

    Raises:
        RuntimeError: not as it should, or it left something.
    """
    organization, names = scene.of(blow.stage), [f"{name}-{n}" for n in range(_TRIES)]
    try:
        for name in names:
            organization.submit(name, blow.job)
            with suppress(ProcessLookupError):
                blow.strike(scene, organization, name)
                return ended(organization, name, blow.ends)
        raise RuntimeError(f"it had ended before it was struck, {_TRIES} times")
    finally:
        delete = ("delete", "offsitejob", *names, "--ignore-not-found", "--wait=false")
        organization.space.kubectl(*delete)


if __name__ == "__main__":
    sys.exit(main())
