"""`make bench`, second part: sealed transfer against a plain one, in one run, on a local MinIO.

Ratios above all: the machine, the server and the link are the same for both. The link of 1 Gbit/s
is the loopback of a network namespace of its own, shaped by `tc`; that takes root and Linux.
"""

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from offsite.bundle import AdapterFacts, read_manifest, write_manifest
from offsite.events import Monitor
from offsite.exchange import WHOLE, HomeLedger, Mailbox, Outgoing, Reference, pull, push
from offsite.exchange.workers import in_workers
from offsite.sealing import Ring, new_bundle_key, open_shard, seal_shard
from offsite.sealing.peers import Peers
from offsite.store import ObjectStore
from offsite.store.artifact_store import FolderArtifactStore
from offsite.store.s3 import S3Store
from offsite.wire import canonical
from offsite_testing.minio_server import running_minio

_SHARD = 64 << 20
_INTERVAL = 0.1
_PLAIN = {"seal and push": "plain PUT", "pull and open": "plain GET"}
"""What each is compared with."""
_SHAPED = (
    "ip link set lo up && tc qdisc add dev lo root tbf rate 1gbit burst 512kb latency 100ms && "
    'exec "$@"'
)


@dataclass(frozen=True)
class Cost:
    """What a piece of work took: of the clock, and of all processors but for the server's share."""

    seconds: float
    cpu: float
    memory: int
    """Bytes that the largest of its processes had."""


def measured(work: Callable[[], object]) -> Cost:
    """Measure a piece of work; on a machine that does nothing else."""
    ended, sizes = threading.Event(), [0]
    watch = threading.Thread(target=_watch, args=(ended, sizes))
    wall, cpu = time.perf_counter(), _cpu()
    watch.start()
    try:
        work()
    finally:
        ended.set()
        watch.join()
    return Cost(time.perf_counter() - wall, _cpu() - cpu, max(sizes))


def _watch(ended: threading.Event, sizes: list[int]) -> None:
    """Look at the resident memory of this process and its workers until the work has ended."""
    own = psutil.Process()
    while not ended.wait(_INTERVAL):
        for process in (own, *own.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                if process.name() != "minio":
                    sizes.append(process.memory_info().rss)


def _cpu() -> float:
    """Read from proc(5) how long processors were busy, workers of other parents included."""
    user, nice, system, _idle, _wait, *interrupts = _numbers(Path("/proc/stat"), 1)
    busy = user + nice + system + sum(interrupts[:2])
    servers = (path for path in Path("/proc").glob("[0-9]*/stat") if "(minio)" in _text(path))
    return (busy - sum(sum(_numbers(path, 13)[:2]) for path in servers)) / os.sysconf("SC_CLK_TCK")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # a process that has ended meanwhile
        return ""


def _numbers(path: Path, first: int) -> list[int]:
    return [int(word) for word in _text(path).splitlines()[0].split()[first : first + 9]]


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--gigabytes", type=int, default=2, help="size of the bundle")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many counts")
    parser.add_argument("--link", default="loopback", help=argparse.SUPPRESS)
    options = parser.parse_args()
    console = Console(width=120)
    if options.link == "loopback":
        console.print(_in_memory())
    with tempfile.TemporaryDirectory(prefix="offsite-bench-") as name:
        console.print(_over_the_store(Path(name), options))
    if options.link == "loopback":
        again = [sys.executable, __file__, *sys.argv[1:], "--link", "1 Gbit/s"]
        shaped = ["unshare", "--net", "sh", "-c", _SHAPED, "sh", *again]
        if subprocess.run(shaped, check=False).returncode:
            console.print("no link could be shaped: that takes root, iproute2 and unshare")


def _in_memory() -> Table:
    plain, key = os.urandom(_SHARD), new_bundle_key()
    sealed = seal_shard(key, io.BytesIO(plain), len(plain), b"")

    def seal() -> None:
        hashlib.sha256(plain).digest()  # as the manifest has it
        hashlib.sha256(seal_shard(key, io.BytesIO(plain), len(plain), b"")).digest()

    def unseal() -> None:
        hashlib.sha256(sealed).digest()
        target = io.BytesIO()
        open_shard(key, sealed, b"", target)
        hashlib.sha256(target.getbuffer()).digest()

    table = Table(title="one shard of 64 MiB, with both of its hashes")
    table.add_column("work")
    table.add_column("GB a CPU-second", justify="right")
    works = {
        "seal": seal,
        "open": unseal,
        "beside it, the SDK's SHA-256 of what it puts": lambda: hashlib.sha256(sealed).digest(),
    }
    for words, work in works.items():
        best = min(measured(work).cpu for _ in range(5))
        table.add_row(words, f"{_SHARD / best / 1e9:.2f}")
    return table


def _over_the_store(root: Path, options: argparse.Namespace) -> Table:
    folder = _bundle(root, options.gigabytes)
    size = read_manifest(folder)[0].size
    title = f"{size / 1e9:.1f} GB, local MinIO, {os.cpu_count()} cores, {options.link}"
    table = Table(title=f"{title}, median of {options.rounds}")
    for column in ("work", "MB/s", "x plain", "CPU-seconds/GB", "largest process, MiB"):
        table.add_column(column, justify="left" if column == "work" else "right")
    with running_minio(root / "minio") as server:
        server.root().make_bucket("exchange")
        store = server.store("exchange")
        rounds = [_round(root, folder, store, size, n) for n in range(options.rounds)]
    costs = {work: _median([each[work] for each in rounds]) for work in rounds[0]}
    for work, cost in costs.items():
        table.add_row(*_row(work, cost, costs[_PLAIN.get(work, work)], size))
    return table


def _round(root: Path, folder: Path, store: S3Store, size: int, number: int) -> dict[str, Cost]:
    """Send and fetch it plain, then sealed; leave nothing but what the next round replaces."""
    shards = [(folder / "model.safetensors", i) for i in range(size // _SHARD)]
    prefix, opened = "plain/", root / "opened"
    lab, hospital = (_mailbox(root, who, store) for who in ("lab", "hospital"))
    monitor = Monitor(lambda event: None)

    def take() -> None:
        envelope = hospital.incoming("lab", Reference("large"))
        pull(hospital, envelope, opened, WHOLE, monitor)

    works: dict[str, Callable[[], object]] = {
        "plain PUT": lambda: _all(partial(_put, store, prefix), shards, size),
        "seal and push": lambda: push(lab, Outgoing(folder, "hospital", f"job-{number}"), monitor),
        "plain GET": lambda: _all(partial(_get, store, prefix), shards, size),
        "pull and open": take,
    }
    costs = {words: measured(work) for words, work in works.items()}
    store.delete(store.sizes(prefix))
    shutil.rmtree(opened)
    return costs


def _median(costs: list[Cost]) -> Cost:
    return sorted(costs, key=lambda cost: cost.seconds)[len(costs) // 2]


def _row(work: str, cost: Cost, plain: Cost, size: int) -> list[str]:
    return [
        work,
        f"{size / cost.seconds / 1e6:.0f}",
        f"{plain.seconds / cost.seconds:.2f}",
        f"{cost.cpu / size * 1e9:.1f}",
        f"{cost.memory / 2**20:.0f}",
    ]


def _all(task: Callable[[Any], object], items: list[Any], size: int) -> None:
    for _ in in_workers(task, items, size):
        pass


def _put(store: ObjectStore, prefix: str, shard: tuple[Path, int]) -> None:
    path, number = shard
    with path.open("rb") as file:
        file.seek(number * _SHARD)
        store.put(f"{prefix}{number}", file.read(_SHARD))


def _get(store: ObjectStore, prefix: str, shard: tuple[Path, int]) -> None:
    store.get(f"{prefix}{shard[1]}", _SHARD)


def _bundle(root: Path, gigabytes: int) -> Path:
    folder = root / "large"
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        for _ in range(gigabytes * 16):
            file.write(os.urandom(_SHARD))
    facts = AdapterFacts(method="LoRA", scope="All", rank=1, answers="sha256:" + "0" * 64)
    fields: dict[str, Any] = {"architecture": "X", "dtype": "float32", "facts": facts}
    write_manifest(folder, name="large", made_by="lab", made_for="hospital", **fields)
    return folder


def _mailbox(root: Path, party: str, store: ObjectStore) -> Mailbox:
    peers = Peers(root / party / "peers")
    for name, ring in _RINGS.items():
        peers.add(canonical(ring.public().wire()), name)
    scratch = root / party / "journals"
    journals = FolderArtifactStore(scratch)
    return Mailbox(_RINGS[party], peers, store, HomeLedger(root / party), scratch, journals)


_RINGS = {name: Ring.new(name) for name in ("lab", "hospital")}


if __name__ == "__main__":
    main()
