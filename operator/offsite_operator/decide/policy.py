"""Checks a job against the chart's `bounds`. Violations fail the job with `NotAllowed`."""

from collections.abc import Iterator

from offsite.api import JobSpec, Use, claims_of, is_among
from offsite.task import KEPT, WORK
from offsite_operator.quantity import amount
from offsite_operator.settings import Settings

RESERVED = ("records/", "disclosed/", f"{WORK}/", f"{KEPT}/", "checkpoints/", "published/")
"""Folders of the private store that jobs must not read or write directly."""


def violation(spec: JobSpec, settings: Settings) -> tuple[str, str] | None:
    """Return the reason and message of the first violation; None: there is none."""
    for problem in _problems(spec, settings):
        return ("NotAllowed", problem)
    model = spec.model
    if model is not None and model.startswith("hf://") and not settings.model_hub:
        return (
            "EgressDisabled",
            f"{model} is on the model hub, which pods here must not access; copy the model to the "
            "private store, or set egress.modelHub in the chart's values",
        )
    return None


def _problems(spec: JobSpec, settings: Settings) -> Iterator[str]:
    bounds, image = settings.bounds, spec.runtime.image
    if not is_among(spec.peer, bounds.peers):
        yield _refusal("peer", spec.peer, "bounds.peers", bounds.peers)
    allowed = (settings.images.runtime, *bounds.images)
    if image is not None and not is_among(image, allowed):
        yield _refusal("runtime.image", image, "bounds.images", allowed)
    yield from _placement(spec, settings)
    yield from _sizes(spec, settings)
    if spec.tune is not None and (below := bounds.objection(spec.tune)) is not None:
        yield f"spec.{below}"
    yield from _locations(spec, settings)


def _locations(spec: JobSpec, settings: Settings) -> Iterator[str]:
    """Check what a job reads and writes."""
    bounds = settings.bounds
    for each in spec.references():
        field, place, use = each
        if use is Use.OPEN_BUNDLE:
            continue
        if each.out_of_reach is not None:
            yield each.out_of_reach
            continue
        yield from _place(field, place, settings)
        if use.reads and not _readable(place, settings):
            allowed = (*bounds.read_prefixes, *(f"pvc://{claim}/" for claim in bounds.claims))
            yield _refusal(field, place, "bounds.readPrefixes and bounds.claims", allowed)
        if not use.reads and not _begins(place, bounds.export_prefixes):
            yield _refusal(field, place, "bounds.exportPrefixes", bounds.export_prefixes)


def _placement(spec: JobSpec, settings: Settings) -> Iterator[str]:
    """Check what affects scheduling on shared nodes."""
    bounds, runtime = settings.bounds, spec.runtime
    name, classes = runtime.priority_class_name, bounds.priority_classes
    if name is not None and not is_among(name, classes):
        yield _refusal("runtime.priorityClassName", name, "bounds.priorityClasses", classes)
    for each in runtime.tolerations:
        # a toleration without a key tolerates every taint, which only the entry `*` allows
        if not is_among(each.key or "", bounds.tolerations):
            named = each.key or "every taint"
            yield _refusal("runtime.tolerations", named, "bounds.tolerations", bounds.tolerations)

    for key in runtime.node_selector:
        if not is_among(key, bounds.node_selector_keys):
            allowed = bounds.node_selector_keys
            yield _refusal("runtime.nodeSelector", key, "bounds.nodeSelectorKeys", allowed)


def _sizes(spec: JobSpec, settings: Settings) -> Iterator[str]:
    """Check the resources that a job requests against the maximums."""
    bounds, asked = settings.bounds, spec.resources
    deadline = (spec.active_deadline_seconds, bounds.max_active_deadline_seconds)
    sizes: dict[str, tuple[str | int | None, str | int | None]] = {
        "resources.workers": (asked.workers, bounds.max_workers),
        "resources.cpusPerWorker": (asked.cpus_per_worker, bounds.max_cpus_per_worker),
        "resources.gpusPerWorker": (asked.gpus_per_worker, bounds.max_gpus_per_worker),
        "resources.memoryPerWorker": (asked.memory_per_worker, bounds.max_memory_per_worker),
        "activeDeadlineSeconds": deadline,
    }
    for field, (wanted, most) in sizes.items():
        if wanted is None or most is None or amount(wanted) <= amount(most):
            continue
        name = field.rpartition(".")[2]
        setting = f"bounds.max{name[0].upper()}{name[1:]}"
        yield f"spec.{field} is {wanted}; {setting} in the chart's values allows at most {most}"


def _place(field: str, place: str, settings: Settings) -> Iterator[str]:
    """Check rules that no setting can relax."""
    if place.startswith("hf://"):
        return
    if any(part in ("", ".", "..") for part in place.partition("://")[2].rstrip("/").split("/")):
        yield f"spec.{field} is {place!r}; remove empty parts, . and .. from the path"
    home = settings.private.uri.rstrip("/") + "/"
    if any(f"{place}/".startswith(home + reserved) for reserved in RESERVED):
        yield f"spec.{field} is {place!r}, which is reserved for offsite; use another folder"
    if home.startswith(f"{place.rstrip('/')}/"):
        yield (
            f"spec.{field} is {place!r}, which contains the private store "
            f"({settings.private.uri}); "
            "use another folder"
        )


def _readable(place: str, settings: Settings) -> bool:
    bounds = settings.bounds
    if place.startswith("hf://"):  # checked in `violation`, with `EgressDisabled`
        return True
    on_claim = all(is_among(claim, bounds.claims) for claim in claims_of(place))
    whole_claim = place.startswith("pvc://") and on_claim
    return whole_claim or _begins(place, bounds.read_prefixes)


def _begins(place: str, prefixes: tuple[str, ...]) -> bool:
    """Return whether a location is one of some folders, or below one."""
    return any(f"{place}/".startswith(prefix.rstrip("/") + "/") for prefix in prefixes)


def _refusal(field: str, value: str, setting: str, allowed: tuple[str, ...]) -> str:
    known = ", ".join(allowed) or "none"
    return (
        f"spec.{field} is {value!r}, which {setting} in the chart's values does not allow; "
        f"allowed: {known}"
    )
