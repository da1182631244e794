"""What the command needs of the machine, and what it lacks. Uses the standard library alone."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

NEEDS = "needs.json"
"""Where the folder has it."""
SITE = "site"
"""Where packages that the machine lacks are put."""
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


@dataclass(frozen=True)
class Needs:
    """Packages by name, as they were where the folder was made."""

    needed: Sequence[str]
    optional: Sequence[str]
    """Without them, the tests of NF4 and of differential privacy are skipped."""
    versions: Mapping[str, str]
    requires: Mapping[str, Sequence[str]]
    """The packages that each of them needs itself."""
    bounds: Mapping[str, str]
    """The versions that offsite asks for."""

    @classmethod
    def read(cls, folder: Path) -> "Needs":
        """Read the needs of a folder."""
        return cls(**json.loads((folder / NEEDS).read_bytes()))

    def text(self) -> str:
        """Write them as JSON."""
        return json.dumps(asdict(self), indent=1)

    def found(self) -> dict[str, str | None]:
        """Return the version of each package here; None: it is missing."""
        return {name: version(name) for name in (*self.needed, *self.optional)}

    def check(self) -> None:
        """Report what the machine lacks.

        Raises:
            SystemExit: a needed package is missing.
        """
        for problem in self._outside():
            print(f"warning: {problem}", file=sys.stderr)
        if missing := self.missing(self.optional):
            print(f"warning: tests are skipped without {', '.join(missing)}", file=sys.stderr)
        if missing := self.missing(self.needed):
            raise SystemExit(
                f"this machine lacks {', '.join(missing)}. On a machine with network, run in "
                f"this folder, and copy the folder again:\n  {self._remedy(missing)}"
            )

    def missing(self, names: Sequence[str]) -> list[str]:
        """List the packages that are missing, with what they need. One that is here is complete."""
        found, waiting = list[str](), [*names]
        while waiting:
            name = waiting.pop(0)
            if name not in found and version(name) is None:
                found.append(name)
                waiting += self.requires[name]
        return found

    def _outside(self) -> Iterator[str]:
        """Find what is here in a version that offsite does not ask for."""
        if version("packaging") is None:
            return
        from packaging.specifiers import SpecifierSet

        for name, bound in self.bounds.items():
            here = version(name)
            if here is not None and not SpecifierSet(bound).contains(here, prereleases=True):
                yield f"{name} is {here}, and offsite asks for {bound}; results may differ"

    def _remedy(self, missing: list[str]) -> str:
        wanted = " ".join(f"{name}=={self.versions[name]}" for name in missing)
        here = f"--python-version {sys.version_info.major}.{sys.version_info.minor}"
        platforms = " ".join(f"--platform {name}" for name in _PLATFORMS)
        return (
            f"pip install --target {SITE} --no-deps --only-binary=:all: {here} {platforms} {wanted}"
        )


def version(name: str) -> str | None:
    """Return the version of a package here; None: it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
