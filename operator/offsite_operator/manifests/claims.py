"""Selects the folders of claims that the pods of a step mount, and which of them are writable.

A training pod mounts its job's folder of the private store, and the folders that it reads. Folders
that are only read are mounted read-only everywhere.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from offsite.api import claims_of, is_among
from offsite.mounts import CLAIMS, PRIVATE
from offsite.task import WORK
from offsite_operator.manifests.plan import ChildPlan
from offsite_operator.settings import Settings


@dataclass(frozen=True, order=True)
class Mount:
    """A folder of a claim, mounted in a pod."""

    claim: str
    folder: str
    """Path below the claim's root; empty: the whole claim."""
    path: str
    writes: bool = False


def mounts(plan: ChildPlan) -> list[Mount]:
    """List the mounts of a step's container."""
    found = [*_private(plan), *_exported(plan)]
    taken = {mount.path for mount in found}
    return [*found, *(mount for mount in _read(plan) if mount.path not in taken)]


def claims_in(found: Iterable[Mount]) -> list[str]:
    """List each claim once: the kubelet hangs on two volumes of one claim."""
    return list(dict.fromkeys(mount.claim for mount in found))


def _private(plan: ChildPlan) -> Iterator[Mount]:
    """Mount the private store; a training pod gets only the folder that the first step made for its
    job.
    """
    claim, uri = plan.settings.private.claim, plan.settings.private.uri
    if claim is None:
        return
    home = _split(uri)[1]
    folder = home if plan.keyed else f"{home}/{WORK}/{plan.uid}"
    yield Mount(claim, folder, f"{PRIVATE}/{folder}", writes=True)


def _exported(plan: ChildPlan) -> Iterator[Mount]:
    """Mount an allowed folder that contains the target of a plugged-in model.

    The first step checks that a model can be written there, and the last one writes it.
    """
    target = plan.spec.export_to
    if not plan.keyed or target is None or not claims_of(target):
        return
    claim, path = _split(target)
    parent = path.rpartition("/")[0]
    around = _around(claim, parent, plan.settings.bounds.export_prefixes)
    yield _at(claim, min(around, key=len, default=parent), writes=True)


def _read(plan: ChildPlan) -> Iterator[Mount]:
    """Mount what a step reads. Folders inside another mounted folder are skipped."""
    folders = {_allowed(place, plan.settings) for place in _places(plan) if claims_of(place)}
    for claim, folder in sorted(folders):
        others = (other for each, other in folders if each == claim and other != folder)
        if not any(_lies_in(folder, other) for other in others):
            yield _at(claim, folder)


def _places(plan: ChildPlan) -> Iterator[str]:
    """List the locations that a step reads.

    Open inspects the model of a stage. Publish copies the files beside a plugged-in model's
    weights, or counts the examples of a tuning.
    """
    spec, opens = plan.spec, plan.step == "Open"
    if not plan.keyed:
        yield from (each.value for each in spec.references() if each.use.reads)
    elif spec.model is not None and (opens or spec.plug_in is not None):
        yield spec.model
    elif spec.tune is not None and not opens:
        yield spec.tune.data.train


def _allowed(place: str, settings: Settings) -> tuple[str, str]:
    """Find the folder to mount for a location: the largest one that the bounds allow.

    This keeps links inside a model hub's cache valid. On the private store's claim, it is the
    largest such folder that does not contain the private store.
    """
    claim, path = _split(place)
    whole = is_among(claim, settings.bounds.claims)
    around = _around(claim, path, settings.bounds.read_prefixes)
    folder = "" if whole else min(around, key=len, default=path)
    if settings.private.claim != claim:
        return claim, folder
    home, parts = _split(settings.private.uri)[1], path.split("/")
    inner = ("/".join(parts[:count]) for count in range(len(parts) + 1))
    fitting = (each for each in inner if _lies_in(each, folder) and not _lies_in(home, each))
    return claim, next(fitting, path)


def _around(claim: str, path: str, prefixes: Iterable[str]) -> list[str]:
    """List the allowed folders of a claim that contain a path."""
    found = (_split(each) for each in prefixes if claims_of(each))
    return [folder for each, folder in found if each == claim and _lies_in(path, folder)]


def _at(claim: str, folder: str, *, writes: bool = False) -> Mount:
    return Mount(claim, folder, f"{CLAIMS}/{claim}/{folder}".rstrip("/"), writes)


def _split(place: str) -> tuple[str, str]:
    """Split a `pvc://` location into claim and path."""
    claim, _, path = place.removeprefix("pvc://").partition("/")
    return claim, path.strip("/")


def _lies_in(path: str, folder: str) -> bool:
    return not folder or f"{path}/".startswith(f"{folder}/")
