"""Logs a run to an MLflow tracking server, if `OFFSITE_MLFLOW_URI` names one.

A process of its own does it: MLflow's client takes seconds to import, retries for minutes, and
reports usage to its authors unless the environment forbids it.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

from offsite.runs.record import Run
from offsite.runs.to_mlflow import MLFLOW_URI

_PATIENCE = 120.0
"""Seconds that logging may take."""
_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_FIXED = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def track(run: Run, environ: Mapping[str, str], report: Callable[[str], object]) -> None:
    """Log a run that ended to the tracking server that the environment names.

    An interrupted run is logged when it goes on and ends. A failure to log is reported, and raises
    nothing: the record in the home is what counts.
    """
    uri = environ.get(MLFLOW_URI, "")
    if not uri or run.outcome in ("Unfinished", "Interrupted"):
        return
    if find_spec("mlflow") is None:
        report(f"{MLFLOW_URI} is set, but MLflow is not installed; install offsite-tuning[mlflow]")
        return
    if (problem := _log(run, uri, environ)) is not None:
        message = f"{uri} did not take the run {run.id}: {problem}"
        report(message.replace(_login(uri), ""))


def _log(run: Run, uri: str, environ: Mapping[str, str]) -> str | None:
    """Log a run in another process; returns what went wrong."""
    # it needs no settings of ours, such as where a passphrase is
    others = {key: value for key, value in environ.items() if not key.startswith("OFFSITE_")}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "offsite.runs.to_mlflow"],
            input=run.content(),
            env={**_DEFAULTS, **others, **_FIXED, MLFLOW_URI: uri},
            capture_output=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {_PATIENCE:.0f} s"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return None if done.returncode == 0 else lines[-1] if lines else f"exit code {done.returncode}"


def _login(uri: str) -> str:
    """Return the name and password in a URI, up to the `@`, which MLflow's errors quote."""
    login, at, _ = urlsplit(uri).netloc.rpartition("@")
    return f"{login}{at}"
