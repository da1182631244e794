"""A Ray that runs already, as a pod's program finds the one of its RayCluster."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_WORKERS = {"RAY_worker_niceness": "0"}
"""Ray's default is 15, and other tests would starve them."""
_HEAD = """
import sys
import ray
told = ray.init(num_cpus=2, include_dashboard=False)
print(told.address_info["address"], flush=True)
sys.stdin.read()
"""


@contextmanager
def running_ray() -> Iterator[dict[str, str]]:
    """Run a head; gives what a program finds it by, in its environment."""
    known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command, pipe = [sys.executable, "-c", _HEAD], subprocess.PIPE
    # it reads until we are gone, however we ended
    with subprocess.Popen(
        command, env=os.environ | known | _WORKERS, stdin=pipe, stdout=pipe, text=True
    ) as head:
        assert head.stdout is not None
        address = head.stdout.readline().strip()
        assert address, "Ray did not start"
        yield {**known, "RAY_ADDRESS": address}
