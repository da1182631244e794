"""Prepares the folder: `python -m gpu.folder build/gpu`. It runs where offsite is developed."""

import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gpu.needs import NEEDS, Needs

_ROOT = Path(__file__).parents[2]
_CONTENTS = (
    "offsite",
    "bench/efficiency",
    "bench/gpu",
    "tests/conftest.py",
    "tests/offsite/conftest.py",
    "tests/offsite/test_device.py",
    "tests/offsite_testing",
    "pyproject.toml",
    "LICENSE",
)
_NEEDED = ("torch", "transformers", "peft", "accelerate", "scipy", "jinja2", "huggingface-hub")
_TOOLS = ("rich", "pytest", "pytest-timeout", "hypothesis", "packaging", "tokenizers")
_OPTIONAL = ("bitsandbytes", "opacus")
_WHOLE = ("torch",)
"""A package that a GPU machine has, with its CUDA."""


def main() -> None:
    """Write the folder, anew."""
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    for name in _CONTENTS:
        _copy(_ROOT / name, target / name)
    shutil.copy(_ROOT / "bench/gpu/README.md", target)
    (target / NEEDS).write_text(_needs().text(), encoding="utf-8")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 2**20:.1f} MiB; its README.md says how to use it")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _needs() -> Needs:
    """List the packages that the command imports, and what those need, as installed here."""
    own = {str(canonicalize_name(each.name)): each for each in _requirements("offsite-tuning")}
    plain = (name for name, each in own.items() if each.marker is None)
    needed, optional = (*plain, *_NEEDED, *_TOOLS), _OPTIONAL
    requires = _graph((*needed, *optional))
    return Needs(
        needed=needed,
        optional=optional,
        versions={name: metadata.version(name) for name in sorted(requires)},
        requires=requires,
        bounds={name: str(own[name].specifier) for name in sorted(requires) if name in own},
    )


def _graph(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the packages that each needs, for those with names and all that they need."""
    found, waiting = dict[str, list[str]](), [*names]
    while waiting:
        if (name := waiting.pop()) not in found:
            asked = (each for each in _requirements(name) if _applies(each))
            found[name] = [] if name in _WHOLE else [canonicalize_name(each.name) for each in asked]
            waiting += found[name]
    return found


def _requirements(name: str) -> Iterator[Requirement]:
    return map(Requirement, metadata.requires(name) or [])


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


if __name__ == "__main__":
    main()
