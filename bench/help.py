"""`make bench`: how long `offsite … --help` takes beside the same of the least Typer app.

Each is started in turn, several times; the figure is the median.
"""

import statistics
import subprocess
import sys
import time

_ROUNDS = 9
_BARE = """
import typer
app = typer.Typer()
@app.command()
def greet(name: str) -> None:
    "Greet somebody."
app(prog_name="bare")
"""
_CALLS = {
    "a bare Typer app": ("-c", _BARE),
    "offsite": ("-m", "offsite_cli"),
    "offsite submit": ("-m", "offsite_cli", "submit"),
    "offsite watch": ("-m", "offsite_cli", "watch"),
}


def main() -> None:
    """Measure, and print a table."""
    seconds: dict[str, list[float]] = {name: [] for name in _CALLS}
    for _ in range(_ROUNDS):
        for name, call in _CALLS.items():
            seconds[name].append(_taken(call))
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"{'--help of':<20} {'seconds':>8} {'ratio':>6}   (aim: at most 1.5)")
    for name, median in medians.items():
        print(f"{name:<20} {median:>8.2f} {median / medians['a bare Typer app']:>6.2f}")


def _taken(call: tuple[str, ...]) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, *call, "--help"], check=True, capture_output=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
