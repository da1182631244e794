"""The first process of a node: sets up its inside, starts its components and starts them again.

It ends when it is killed, and everything in the node with it.
"""

import os
import socket
import time
from pathlib import Path

from cluster import mounts, network
from cluster.components import ENVIRONMENT, NODE_NAME, Component, components
from cluster.processes import spawn, wait_until

LINK = Path("link")
"""The file with the number of the node's link, below its folder: there once the link is."""
STARTED = Path("started")
"""The file that says that every component was started."""

_PAUSE = 1.0


def main() -> None:
    """Set up the node, then run it until it is killed."""
    while not LINK.exists():
        time.sleep(0.01)
    network.set_up(network.Link(int(LINK.read_text(encoding="ascii"))))
    mounts.set_up()
    socket.sethostname(NODE_NAME)
    running = {_start(component): component for component in components()}
    STARTED.touch()
    while True:
        _reap(running)


def _start(component: Component) -> int:
    print(f"{component.name} starts", flush=True)
    log = mounts.NODE / "log" / f"{component.name}.log"
    pid = spawn([component.name, *component.options], ENVIRONMENT, log)
    wait_until(component.ready, pid, log)
    return pid


def _reap(running: dict[int, Component]) -> None:
    """Wait for the end of a process, which may be one that a component left behind."""
    pid, status = os.wait()
    if ended := running.pop(pid, None):
        print(f"{ended.name} ended ({status=})", flush=True)
        time.sleep(_PAUSE)  # one that cannot run does not take the machine
        running[_start_again(ended)] = ended


def _start_again(component: Component) -> int:
    try:
        return _start(component)
    except RuntimeError as error:
        print(f"{component.name} does not come back, and the node ends: {error}", flush=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
