"""A real MLflow tracking server on loopback, for tests."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from offsite_testing.minio_server import free_port

_PATIENCE = 240.0
"""Seconds: it imports much, which takes long on a busy machine."""
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@contextmanager
def running_mlflow(folder: Path) -> Iterator[str]:
    """Run `mlflow server` while the `with` block runs, with its files in a folder; give its URI."""
    port = free_port()
    options = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--workers", "1"]
    options += ["--no-serve-artifacts", "--default-artifact-root", str(folder / "artifacts")]
    options += ["--host", "127.0.0.1", "--port", str(port)]
    environ = {**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = folder / "log"
    with log.open("wb") as output:
        # in a group of its own, since it starts a process that outlives it when it is killed
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        _wait(process, f"{uri}/health", log)
        yield uri
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    with urllib3.PoolManager(retries=False) as pool:
        while process.poll() is None and time.monotonic() < end:
            try:
                if pool.request("GET", url).status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                time.sleep(0.1)
    raise RuntimeError(f"MLflow did not start: {log.read_text()[-2000:]}")
