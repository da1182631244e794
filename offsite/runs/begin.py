"""The record of a run that begins."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from offsite.api import OffsiteJob
from offsite.runs.record import Run
from offsite.version import __version__
from offsite.wire import now

_LIBRARIES = ("torch", "transformers", "peft", "opacus", "ray")


def begin(
    job: OffsiteJob,
    run_id: str,
    *,
    party: str,
    peer: str,
    fingerprints: Mapping[str, str],
) -> Run:
    """Make the record of a run that begins now, in this process.

    Args:
        run_id: See `Run.id`.
        party: Id of the party that runs the job.
        peer: Id of the other party.
        fingerprints: Fingerprints of their public keys, by id.
    """
    return Run(
        id=run_id,
        job=job.metadata.name,
        stage=job.spec.stage,
        party=party,
        peer=peer,
        fingerprints=fingerprints,
        spec=job.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        started=now(),
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    """Look up versions without importing a library; a library that is not installed has none."""
    found = {"offsite": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
