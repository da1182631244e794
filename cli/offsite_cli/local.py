"""What a job that is run on this machine cannot ask for."""

from collections.abc import Iterator
from typing import Any

from offsite.api import JobSpec
from offsite.errors import SpecError

_CLUSTERS = frozenset(
    {
        *("resources", "runtime", "retries", "backoff_limit"),
        *("active_deadline_seconds", "ttl_seconds_after_finished"),
    }
)
"""What speaks of pods, and how they are repeated: here it means nothing, and changes no result."""


def check_local(spec: JobSpec, source: str) -> None:
    """Refuse what would mean something else here than on a cluster.

    Args:
        source: the job file, as errors name it.

    Raises:
        SpecError: it lies in a cluster's claim, or is not to run at all.
    """
    stopped = [name for name in ("suspend", "cancel") if getattr(spec, name)]
    problems = [f"spec.{name}: is true, so it is not run; remove it" for name in stopped]
    problems += [
        f"spec.{path}: {location} is a claim in a cluster; name a path, file:// or s3:// here, "
        "or run: offsite submit"
        for path, location in _strings(spec.model_dump(by_alias=True, exclude_none=True))
        if location.startswith("pvc://")
    ]
    if problems:
        raise SpecError(source, problems)


def unheeded(spec: JobSpec) -> str | None:
    """Say which fields of the spec this machine takes no heed of; None: of all that are set."""
    aliases = {name: str(field.alias) for name, field in JobSpec.model_fields.items()}
    named = [aliases[name] for name in aliases if name in spec.model_fields_set & _CLUSTERS]
    if not named:
        return None
    return f"{', '.join(named)}: of use on a cluster alone; not heeded here"


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _strings(each, f"{path}.{name}" if path else name)
