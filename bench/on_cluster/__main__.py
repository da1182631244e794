"""`make bench-cluster`: what the operator costs, in time and in memory, on a real Kubernetes.

Each figure stands beside the load average of this machine over a minute: on one that does other
things, too, the figures are of that. All that is made is gone when it ends.
"""

import argparse
import os
import secrets

from cluster.access import Cluster, reached_cluster
from cluster.namespaces import new_namespace
from cluster.organizations import give
from cluster.processes import end_in_order
from cluster.scene import Scene, set_up
from on_cluster.crowded import crowded
from on_cluster.fresh import oldest_progress
from on_cluster.overhead import overhead

_ROW = "{:<58} {:>9} {:>10} {:>7}"


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    end_in_order()
    name = f"bench-{secrets.token_hex(3)}"
    # as often as the chart's default has it
    with reached_cluster(name) as cluster, set_up(cluster, checkpointSeconds=60) as scene:
        print(_ROW.format("what was measured", "figure", "aim", "load"), flush=True)
        if options.rounds:
            _beside_a_bare_one(cluster, scene, options.steps, options.rounds)
        oldest = oldest_progress(scene.lab)
        _tell("the oldest progress shown, in a minute", f"{oldest:.1f} s", "<= 10 s")
        if options.jobs:
            _in_a_crowd(scene, options.waiting, options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20000, help="of a training")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each kind; 0: none")
    parser.add_argument("--waiting", type=int, default=1000, help="jobs that wait meanwhile")
    parser.add_argument("--jobs", type=int, default=50, help="jobs that are timed; 0: none")
    return parser.parse_args()


def _beside_a_bare_one(cluster: Cluster, scene: Scene, steps: int, rounds: int) -> None:
    with new_namespace(cluster, "bare") as space:
        give(space)
        found = overhead(scene.lab, space, steps, rounds)
    _tell(f"OffsiteJob / bare RayJob, medians of {rounds}", f"{found.ratio:.2f}", "<= 1.1")
    for what, seconds in (
        ("the bare RayJob", found.bare),
        ("the OffsiteJob", found.job.whole),
        ("its Job that opens", found.job.open),
        ("its RayJob, which trains", found.job.work),
        ("its Job that publishes", found.job.publish),
        ("before, between and after them", found.job.between),
    ):
        _tell(f"  {what}", f"{seconds:.1f} s")


def _in_a_crowd(scene: Scene, waiting: int, jobs: int) -> None:
    found = crowded(scene.lab, waiting, jobs)
    _tell(f"OffsiteJob to child, {waiting} others there, p50 of {jobs}", f"{found.half:.2f} s")
    _tell("  p95", f"{found.most:.2f} s", "<= 2 s")
    _tell("the operator's resident memory then", f"{found.resident >> 20} MiB", "<= 256 MiB")
    _tell("  its highest", f"{found.peak >> 20} MiB")


def _tell(what: str, figure: str, aim: str = "") -> None:
    print(_ROW.format(what, figure, aim, f"{os.getloadavg()[0]:.1f}"), flush=True)


if __name__ == "__main__":
    main()
